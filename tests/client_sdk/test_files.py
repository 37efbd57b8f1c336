"""Files of the SDK: streamed both ways, resumed, checked, and never a part under the final name."""

import hashlib
import io
import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from client_sdk import AsyncQueueClient, Files, QueueClient, RetryPolicy, errors
from tests.client_sdk.peers import CUT_OFF, HttpPeer, answer, serving
from tests.conftest import Serve
from tests.running import TOKEN, running_service

FAST = RetryPolicy(retries=4, first_delay_s=0.001, most_delay_s=0.01)
CONTENT = os.urandom(700_001)


@pytest.fixture
async def files_url(serve: Serve, tmp_path: Path) -> str:
    return await serve({"name": "svc"}, files_dir=str(tmp_path / "kept"), files_reserve_mb=0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.png"
    path.write_bytes(CONTENT)
    return path


async def pieces() -> AsyncIterator[bytes]:
    for start in range(0, len(CONTENT), 300_000):
        yield CONTENT[start : start + 300_000]


async def test_a_file_goes_up_from_anything_that_has_bytes_and_comes_back(
    files_url: str, photo: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    async with AsyncQueueClient(files_url, "svc", token=TOKEN) as client:
        files = client.files
        first = await files.upload(photo, purpose="vision", on_progress=lambda *at: seen.append(at))
        assert seen[-1] == (len(CONTENT), len(CONTENT))
        assert (first.filename, first.content_type) == ("my photo.png", "image/png")
        assert (first.size_bytes, first.sha256) == (
            len(CONTENT),
            hashlib.sha256(CONTENT).hexdigest(),
        )
        others = [
            await files.upload(str(photo), filename="other.bin"),
            await files.upload(io.BytesIO(CONTENT)),
            await files.upload(CONTENT),
            await files.upload([CONTENT[:5], b"", CONTENT[5:]]),
            await files.upload(pieces()),
        ]
        assert {one.sha256 for one in others} == {first.sha256}
        assert [one.id async for one in files.list(purpose="vision")] == [first.id]
        assert len([one async for one in files.list()]) == 6
        assert await files.describe(first.id) == first
        target = tmp_path / "copy.png"
        target.write_bytes(b"old")
        assert await files.download(first.id, target) == target
        assert target.read_bytes() == CONTENT
        for one in (first, *others):
            await files.delete(one.id)
        with pytest.raises(errors.NotFound):
            await files.describe(first.id)
    assert {"copy.png", "my photo.png"} == set(os.listdir(tmp_path)) - {"kept"}


async def test_what_cannot_be_sent_is_said_before_anything_is_sent(
    files_url: str, tmp_path: Path
) -> None:
    async with AsyncQueueClient(files_url, "svc", token=TOKEN) as client:
        with pytest.raises(errors.BadParameter, match=r"expected a file, .* is a folder"):
            await client.files.upload(tmp_path)
        with pytest.raises(FileNotFoundError):
            await client.files.upload(tmp_path / "absent")
        with pytest.raises(TypeError, match="mode 'rb'"):
            await client.files.upload(io.StringIO("text"))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="expected bytes, got int"):
            await client.files.upload([1])  # type: ignore[list-item]
        with pytest.raises(TypeError, match="a path, a file or an iterator, got int"):
            await client.files.upload(3)  # type: ignore[arg-type]
        assert [one async for one in client.files.list()] == []


async def test_a_file_that_shrinks_under_way_is_no_upload(files_url: str, tmp_path: Path) -> None:
    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            # Whatever the size of the pieces: a part of it, and then the end.
            return super().read(300_000) if self.tell() == 0 else b""

    async with AsyncQueueClient(files_url, "svc", token=TOKEN, retry=FAST) as client:
        with pytest.raises(errors.BadParameter, match="the file changed while it was sent"):
            await client.files.upload(Shrinking(CONTENT))
        assert [one async for one in client.files.list()] == []


def test_a_script_uploads_and_downloads(files_of: Files, photo: Path, tmp_path: Path) -> None:
    file = files_of.upload(photo)
    assert [one.id for one in files_of.list()] == [file.id]
    assert files_of.download(file.id, tmp_path / "back").read_bytes() == CONTENT
    with photo.open("rb") as opened:
        opened.seek(10)
        rest = files_of.upload(opened)
    assert rest.size_bytes == len(CONTENT) - 10
    for one in (file, rest):
        files_of.delete(one.id)


@pytest.fixture
def files_of(redis_url: str, key_prefix: str, tmp_path: Path) -> Iterator[Files]:
    with (
        running_service(
            tmp_path / "service.log",
            redis_url=redis_url,
            key_prefix=key_prefix,
            services=[{"name": "svc"}],
            files_dir=str(tmp_path / "kept"),
            files_reserve_mb=0,
        ) as service,
        QueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        yield client.files


# --- Broken connections and wrong contents


@dataclass
class Shelf:
    """Serves one content with ranges; cuts each response after `cut_after` bytes."""

    content: bytes = CONTENT
    cut_after: int = 200_000
    etag: str = '"e"'
    digest: str = hashlib.sha256(CONTENT).hexdigest()
    ranges: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    ignores_ranges: bool = False
    elsewhere: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization", ""))
        if not request.path.endswith(("/content", "/result")):
            described = {"id": "file_1", "bytes": len(self.content), "sha256": self.digest}
            rest = {"filename": "f", "content_type": "a/b", "purpose": "", "created_at": 0}
            return web.json_response({**described, **rest, "expires_at": 0})
        if self.elsewhere:
            return web.Response(status=307, headers={"Location": f"{self.elsewhere}/x/content"})
        self.ranges.append(request.headers.get("Range", ""))
        start = 0
        if self.ranges[-1] and not self.ignores_ranges:
            assert request.headers["If-Range"] == self.etag
            start = int(self.ranges[-1].removeprefix("bytes=").removesuffix("-"))
        size = len(self.content)
        headers = {"ETag": self.etag, "Content-Length": str(size - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        await response.write(self.content[start : start + self.cut_after])
        if start + self.cut_after < size:
            assert request.transport is not None
            request.transport.close()
        return response


async def test_a_download_goes_on_where_the_connection_broke(tmp_path: Path) -> None:
    shelf = Shelf()
    async with (
        serving(shelf.handle) as url,
        AsyncQueueClient(url, "svc", retry=FAST) as client,
    ):
        await client.files.download("file_1", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["f"]
    starts = [int(one.removeprefix("bytes=").removesuffix("-") or 0) for one in shelf.ranges]
    assert starts == sorted(starts)
    assert len(starts) >= 4


async def test_a_server_without_ranges_sends_all_of_it_again(tmp_path: Path) -> None:
    shelf = Shelf(ignores_ranges=True)

    async def handle(request: web.Request) -> web.StreamResponse:
        if len(shelf.ranges) == 1:
            shelf.cut_after = len(CONTENT)
        return await shelf.handle(request)

    async with serving(handle) as url, AsyncQueueClient(url, "svc", retry=FAST) as client:
        await client.files.download("file_1", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("cut_after", [200_000, len(CONTENT)])
async def test_a_content_that_is_not_whole_or_not_right_gets_no_name(
    tmp_path: Path, cut_after: int
) -> None:
    shelf = Shelf(cut_after=cut_after, digest="0" * 64)
    (tmp_path / "f").write_bytes(b"old")
    retry = RetryPolicy(retries=0)
    async with serving(shelf.handle) as url, AsyncQueueClient(url, "svc", retry=retry) as client:
        with pytest.raises((errors.BadMessage, errors.ConnectionFailed)):
            await client.files.download("file_1", tmp_path / "f")
        with pytest.raises(errors.BadParameter, match="expected the name of a file"):
            await client.files.download("file_1", tmp_path)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


async def test_an_address_at_another_server_gets_no_token(tmp_path: Path) -> None:
    far = Shelf(cut_after=len(CONTENT))
    async with serving(far.handle) as far_url:
        near = Shelf(elsewhere=far_url)
        async with (
            serving(near.handle) as url,
            AsyncQueueClient(url, "svc", token="secret", retry=FAST) as client,
        ):
            await client.files.download("file_1", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert set(near.tokens) == {"secret"}
    assert far.tokens == [""]


async def test_an_upload_is_repeated_if_it_can_be_read_again(photo: Path) -> None:
    peer = HttpPeer([CUT_OFF, answer(503), answer(413, Error_Code="FRAME_TOO_BIG"), CUT_OFF])
    async with serving(peer.handle) as url, AsyncQueueClient(url, "svc", retry=FAST) as client:
        with pytest.raises(errors.FrameTooBig):
            await client.files.upload(photo)
        assert [asked.body for asked in peer.asked] == [CONTENT] * 3
        assert peer.asked[0].headers["Content-Length"] == str(len(CONTENT))
        with pytest.raises(errors.ConnectionFailed):
            await client.files.upload(pieces())
    assert len(peer.asked) == 4


async def test_a_file_is_put_and_submitted_as_its_bytes(photo: Path, tmp_path: Path) -> None:
    stored = answer(body=b"7", X_Eas_Queueservice_Request_Id="r")
    job = b'{"id": "j", "state": "queued", "attempt": 0, "position": 0}'
    peer = HttpPeer([CUT_OFF, stored, answer(body=job), answer(202, job), answer(body=CONTENT)])
    async with serving(peer.handle) as url, AsyncQueueClient(url, "svc", retry=FAST) as client:
        assert (await client.put(photo)).index == 7
        with photo.open("rb") as opened:
            await client.jobs.submit(opened, job_id="j")
        result = await client.jobs.result("j", to=tmp_path / "out")
    assert result.read_bytes() == CONTENT
    assert [asked.body for asked in peer.asked[:3]] == [CONTENT] * 3
    assert len({asked.headers["Idempotency-Key"] for asked in peer.asked[:2]}) == 1


async def test_a_receiver_that_takes_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("client_sdk.content.STALL_S", 0.05)
    big = tmp_path / "big"
    big.write_bytes(b"")
    # More than the buffers of a connection that nobody accepts.
    os.truncate(big, 64 * 1024 * 1024)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with AsyncQueueClient(url, "svc", retry=RetryPolicy(retries=0)) as client:
            with pytest.raises(errors.ConnectionFailed):
                await client.files.upload(big)
