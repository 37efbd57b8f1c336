"""A file larger than the memory of every process goes through each API, and comes back whole.

PENSTOCK_TEST_LARGE_MB=4096 makes it four gigabytes; `-rP` then shows what was measured.
"""

import asyncio
import hashlib
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN
from tests.s3_server import KEYS
from tests.waiting import wait_until

LARGE_BYTES = int(os.environ.get("PENSTOCK_TEST_LARGE_MB", "128")) * 2**20
#: Above the inline limit.
SMALL_BYTES = 100_000
#: What is read of the end.
TAIL_BYTES = 2**20
MOST_GROWTH_BYTES = 64 * 2**20
PATIENCE_S = 600.0


@dataclass
class Sparse:
    """A file that is mostly a hole."""

    path: Path
    size: int
    digest: str
    tail: bytes

    @classmethod
    def at(cls, path: Path, size: int) -> "Sparse":
        with path.open("wb") as file:
            file.write(b"the first bytes")
            file.truncate(size - 14)
            file.seek(0, os.SEEK_END)
            file.write(b"the last bytes")
        tail = path.read_bytes() if size <= TAIL_BYTES else b""
        if not tail:
            with path.open("rb") as file:
                file.seek(-TAIL_BYTES, os.SEEK_END)
                tail = file.read()
        return cls(path, size, digest_of(path), tail)


@dataclass
class Place:
    """A service with a worker that returns its input, and a client of each kind."""

    url: str
    pids: tuple[int, int]
    session: aiohttp.ClientSession
    client: AsyncQueueClient
    made: Path

    def peaks(self) -> dict[str, int]:
        service, worker = self.pids
        return {"service": peak_bytes(service), "worker": tree_peak_bytes(worker)}

    async def penstock(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", *words, "--url", self.url, "--token", TOKEN),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said
        return said.decode().strip()

    async def check_tail(self, path: str, film: Sparse) -> None:
        """The end of it is read without the rest."""
        began_at = time.monotonic()
        headers = {"Range": f"bytes=-{TAIL_BYTES}"}
        async with self.session.get(self.url + path, headers=headers) as answer:
            assert answer.status == 206
            assert await answer.read() == film.tail
        print(f"  the last MiB of {film.size} bytes: {time.monotonic() - began_at:.3f} s")

    def check_made(self, film: Sparse) -> None:
        """What came back is the same; it is not needed any more."""
        assert digest_of(self.made) == film.digest
        self.made.unlink()


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def tree_peak_bytes(pid: int) -> int:
    """The most memory that a process and those below it have had."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return peak_bytes(pid) + sum(tree_peak_bytes(int(one)) for one in below)


async def through_the_files_api(place: Place, film: Sparse) -> None:
    with film.path.open("rb") as body:
        async with place.session.post(f"{place.url}/v1/files", data=body) as answer:
            assert answer.status == 201
            file = await answer.json()
    assert (file["bytes"], file["sha256"]) == (film.size, film.digest)
    await place.check_tail(f"/v1/files/{file['id']}/content", film)
    digest = hashlib.sha256()
    async with place.session.get(f"{place.url}/v1/files/{file['id']}/content") as answer:
        async for piece in answer.content.iter_chunked(2**20):
            digest.update(piece)
    assert digest.hexdigest() == film.digest
    await place.client.files.delete(file["id"])


async def through_the_files_of_the_sdk(place: Place, film: Sparse) -> None:
    file = await place.client.files.upload(film.path)
    assert (file.size_bytes, file.sha256) == (film.size, film.digest)
    await place.check_tail(f"/v1/files/{file.id}/content", film)
    await place.client.files.download(file.id, place.made)
    place.check_made(film)
    await place.client.files.delete(file.id)


async def through_the_files_of_the_command_line(place: Place, film: Sparse) -> None:
    file_id = await place.penstock("files", "upload", str(film.path))
    await place.check_tail(f"/v1/files/{file_id}/content", film)
    await place.penstock("files", "get", file_id, "-o", str(place.made))
    place.check_made(film)
    await place.penstock("files", "rm", file_id, "--yes")


async def through_the_jobs_api(place: Place, film: Sparse) -> None:
    jobs = "/v1/services/svc/jobs"
    with film.path.open("rb") as body:
        async with place.session.post(place.url + jobs, data=body) as answer:
            assert answer.status == 202
            job_id = (await answer.json())["id"]

    async def is_done() -> bool:
        return (await place.client.jobs.get(job_id)).state == "succeeded"

    await wait_until(is_done, "the job is done", PATIENCE_S)
    await place.check_tail(f"{jobs}/{job_id}/result", film)
    await place.client.jobs.result(job_id, to=place.made)
    place.check_made(film)
    await place.client.jobs.delete(job_id)


async def through_the_jobs_of_the_sdk(place: Place, film: Sparse) -> None:
    job = await place.client.jobs.submit(film.path)
    await place.client.jobs.result(job.id, to=place.made, timeout_s=PATIENCE_S)
    place.check_made(film)
    await place.client.jobs.delete(job.id)


async def through_the_jobs_of_the_command_line(place: Place, film: Sparse) -> None:
    await place.penstock("run", "svc", "--file", str(film.path), "-o", str(place.made))
    place.check_made(film)


EACH: tuple[Callable[[Place, Sparse], Awaitable[None]], ...] = (
    through_the_files_api,
    through_the_files_of_the_sdk,
    through_the_files_of_the_command_line,
    through_the_jobs_api,
    through_the_jobs_of_the_sdk,
    through_the_jobs_of_the_command_line,
)


async def settings_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    if kind == "folder":
        return {"files_dir": str(folder), "files_reserve_mb": 0}
    # Not through the proxy of the other tests, which has each body in memory.
    url, name = request.getfixturevalue("storage_url"), f"bucket-{uuid.uuid4().hex}"
    async with aiohttp.ClientSession() as session, session.put(f"{url}/{name}") as answer:
        assert answer.status == 200
    return {"files_url": f"s3://{name}", "files_endpoint": url, **KEYS}


@pytest.fixture(params=["folder", "s3"])
async def place(
    request: pytest.FixtureRequest,
    start_service: StartService,
    start_worker: StartWorker,
    tmp_path: Path,
) -> AsyncIterator[Place]:
    settings = await settings_of(request.param, request, tmp_path / "kept")
    service = await start_service({"name": "svc"}, **settings)
    worker = await start_worker(
        service.url,
        engine="handler:tests.inference_worker.large_file_handler:same",
        files_dir=str(tmp_path / "work"),
        files_reserve_mb=0,
    )
    async with (
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
    ):
        pids = (service.pid, worker.pid)
        yield Place(service.url, pids, session, client, tmp_path / "made")


@pytest.mark.timeout(3600)
async def test_a_large_file_goes_through_each_api_and_no_process_has_it_in_memory(
    place: Place, tmp_path: Path
) -> None:
    small = Sparse.at(tmp_path / "small", SMALL_BYTES)
    large = Sparse.at(tmp_path / "large", LARGE_BYTES)
    for through in EACH:
        # What a process loads when it first does this.
        await through(place, small)
    before = place.peaks()
    for through in EACH:
        began_at = time.monotonic()
        await through(place, large)
        took_s = time.monotonic() - began_at
        grown = {name: peak - before[name] for name, peak in place.peaks().items()}
        more = ", ".join(f"{name} +{size / 2**20:.1f} MiB" for name, size in grown.items())
        print(f"{through.__name__}: {took_s:.1f} s, {more}")
        assert max(grown.values()) < MOST_GROWTH_BYTES, f"{through.__name__}: {more}"
    large.path.unlink()
