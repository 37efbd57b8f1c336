"""The upload of a large file resumes after a broken connection, and no byte is sent twice."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from client_sdk import AsyncQueueClient, RetryPolicy, errors, resumable
from tests.client_sdk.peers import HttpPeer, answer, serving
from tests.conftest import Serve
from tests.running import TOKEN

FAST = RetryPolicy(retries=8, first_delay_s=0.01, most_delay_s=0.2)
CONTENT = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(200_000))


@dataclass
class Cable:
    """A connection to the service that breaks when this much was sent, so often."""

    target: tuple[str, int]
    breaks: int = 0
    after_bytes: int = 2_000_000
    sent_bytes: int = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(*self.target)
        back = asyncio.create_task(_copy(to_reader, writer))
        on_this_one = 0
        try:
            while data := await reader.read(65536):
                self.sent_bytes += len(data)
                on_this_one += len(data)
                to_writer.write(data)
                await to_writer.drain()
                if self.breaks and on_this_one > self.after_bytes:
                    self.breaks -= 1
                    return
        except ConnectionError:
            pass
        finally:
            back.cancel()
            for one in (writer, to_writer):
                one.transport.abort()
            await asyncio.gather(back, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@pytest.fixture
async def cable(serve: Serve, tmp_path: Path) -> AsyncIterator[tuple[Cable, str]]:
    url = urlsplit(
        await serve({"name": "svc"}, files_dir=str(tmp_path / "kept"), files_reserve_mb=0)
    )
    cable = Cable((str(url.hostname), url.port or 0))
    server = await asyncio.start_server(cable.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield cable, f"http://127.0.0.1:{port}"
    server.close()


@pytest.fixture(autouse=True)
def small_files_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "LEAST_BYTES", 1000)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


async def test_an_upload_goes_on_after_broken_connections(
    cable: tuple[Cable, str], film: Path
) -> None:
    line, url = cable
    line.breaks = 2
    seen: list[tuple[int, int | None]] = []
    async with AsyncQueueClient(url, "svc", token=TOKEN, retry=FAST) as client:
        file = await client.files.upload(
            film, purpose="vision", on_progress=lambda *at: seen.append(at)
        )
        assert (file.size_bytes, file.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
        assert (file.filename, file.content_type, file.purpose) == (
            "film.mp4",
            "video/mp4",
            "vision",
        )
        assert line.breaks == 0
        # Twice from the start would be far more.
        assert line.sent_bytes < len(CONTENT) * 1.9
        assert seen[-1] == (len(CONTENT), len(CONTENT))

        before = line.sent_bytes
        again = await client.files.upload(film)
        assert again.id != file.id
        assert again.sha256 == file.sha256
        assert line.sent_bytes - before < 10_000, "the content was there"
        for one in (file, again):
            await client.files.delete(one.id)


async def test_another_process_goes_on(cable: tuple[Cable, str], film: Path) -> None:
    line, url = cable
    line.breaks = 1
    never = RetryPolicy(retries=0)
    async with AsyncQueueClient(url, "svc", token=TOKEN, retry=never) as client:
        with pytest.raises(errors.QueueError):
            await client.files.upload(film)
    before = line.sent_bytes
    async with AsyncQueueClient(url, "svc", token=TOKEN, retry=FAST) as client:
        file = await client.files.upload(film)
        assert file.sha256 == hashlib.sha256(CONTENT).hexdigest()
        # One attempt is refused if the service still stores what the broken connection delivered.
        assert line.sent_bytes - before < len(CONTENT) * 1.9
        await client.files.delete(file.id)


async def test_a_file_in_several_requests_is_whole(
    cable: tuple[Cable, str], film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "PART_BYTES", 1_000_000)
    async with AsyncQueueClient(cable[1], "svc", token=TOKEN, retry=FAST) as client:
        with film.open("rb") as opened:
            opened.seek(10)
            file = await client.files.upload(opened, filename="rest")
        assert file.sha256 == hashlib.sha256(CONTENT[10:]).hexdigest()
        await client.files.delete(file.id)


async def test_an_older_service_gets_the_file_in_one_request(film: Path) -> None:
    peer = HttpPeer([answer(405, b"no"), answer(500, b"seen")])
    async with serving(peer.handle) as url, AsyncQueueClient(url, "svc", retry=FAST) as client:
        with pytest.raises(errors.ServerFault, match="seen"):
            await client.files.upload(film)
