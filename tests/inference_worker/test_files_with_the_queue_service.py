"""Files of jobs through everything that is real: clients, queue service, workers, engines."""

import asyncio
import hashlib
import io
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from client_sdk.wire import names
from queue_service.service.files import FileLimits, Files
from queue_service.settings.process import Settings
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.file_folder import FileFolder
from queue_service.store.file_holders import FileHolders
from queue_service.store.file_index import FileIndex
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, QueueServiceProcess, WorkerProcess
from tests.waiting import wait_until

HANDLERS = "handler:tests.inference_worker.handlers"
CONTENT = os.urandom(3_000_000)
#: What the handler makes of it.
RESULT = CONTENT[::-1][:2_000_000]


@dataclass
class Place:
    """A service that keeps files, and its folder."""

    service: QueueServiceProcess
    kept: Path

    def stored(self) -> list[str]:
        return [path.name for path in self.kept.rglob("*") if path.is_file()]


@pytest.fixture
async def place(start_service: StartService, tmp_path: Path) -> AsyncIterator[Place]:
    kept = tmp_path / "kept"
    service = await start_service(files_dir=str(kept), files_reserve_mb=0, lease_ms=2000)
    place = Place(service, kept)
    yield place
    async with AsyncQueueClient(place.service.url, "svc", token=TOKEN) as client:
        await client.truncate(2**62)
        await client.sink.truncate(2**62)
    await wait_until(lambda: not place.stored(), "the files have gone with their jobs")


def client_of(place: Place) -> AsyncQueueClient:
    return AsyncQueueClient(place.service.url, "svc", token=TOKEN)


async def test_three_megabytes_go_in_and_two_come_out_through_every_client(
    place: Place, start_worker: StartWorker, tmp_path: Path
) -> None:
    await start_worker(place.service.url, engine=f"{HANDLERS}:reverse_part")
    photo = tmp_path / "photo.bin"
    photo.write_bytes(CONTENT)
    url, headers = place.service.url, {"Authorization": f"Bearer {TOKEN}"}
    async with client_of(place) as client, aiohttp.ClientSession(headers=headers) as session:
        # EAS
        async with session.post(f"{url}{names.EAS_PREFIX}/svc", data=io.BytesIO(CONTENT)) as answer:
            assert answer.status == 200
            request_id = answer.headers[names.REQUEST_ID_HEADER]
        query = {names.REQUEST_ID_TAG: request_id, names.TIMEOUT: "60s"}
        async with session.get(f"{url}{names.EAS_PREFIX}/svc/sink", params=query) as answer:
            assert await answer.read() == RESULT
        # The jobs API
        jobs = f"{url}{names.JOBS_PATH.format(service='svc')}"
        async with session.post(f"{jobs}?wait=60s", data=io.BytesIO(CONTENT)) as answer:
            assert await answer.read() == RESULT
        # The SDK
        job = await client.jobs.submit(photo)
        found = await client.jobs.result(job.id, to=tmp_path / "result")
        assert found.read_bytes() == RESULT
        assert await client.jobs.run(photo, timeout_s=60) == RESULT
        # The command line
        command = ("run", "svc", "--file", str(photo), "-o", str(tmp_path / "made"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", *command, "--url", url, "--token", TOKEN)
        )
        assert await process.wait() == 0
        assert (tmp_path / "made").read_bytes() == RESULT


async def test_nothing_is_lost_and_nothing_is_left_when_workers_and_the_service_are_killed(
    place: Place, start_worker: StartWorker, redis_url: str, key_prefix: str
) -> None:

    async def another() -> WorkerProcess:
        engine = f"{HANDLERS}:reverse_part"
        return await start_worker(place.service.url, engine=engine, worker_threads=2)

    workers = [await another() for _ in range(2)]
    inputs = {f"job-{number}": bytes([number]) * 8 + CONTENT for number in range(20)}
    async with client_of(place) as client:
        for job_id, data in inputs.items():
            await client.jobs.submit(data, job_id=job_id)
        # Whatever they do at this moment: they fetch, run or upload.
        workers[0].kill()
        await another()
        place.service.kill()
        await place.service.start()
        workers[1].kill()
        for job_id, data in inputs.items():
            result = await client.jobs.result(job_id, timeout_s=120)
            assert hashlib.sha256(result).digest() == hashlib.sha256(made_of(data)).digest()
            await client.jobs.delete(job_id)
    # A killed process leaves what it was about to name, and that goes when its time is over: four
    # results that two workers had uploaded, and four uploads that the service was receiving.
    await wait_until(lambda: len(place.stored()) <= 8, "all else goes with its job")
    await end_the_time_of_files(place, redis_url, key_prefix)


async def end_the_time_of_files(place: Place, redis_url: str, key_prefix: str) -> None:
    """Do, while the service is stopped, what it does an hour later."""
    await place.service.stop()
    settings = Settings(redis_url=redis_url)
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    scripts = Scripts(servers, confirmation, timeout_s=5)

    def holders(name: str, incarnation: int) -> FileHolders:
        return FileHolders(scripts, Keys(key_prefix, name, incarnation))

    index, folder = FileIndex(scripts, key_prefix=key_prefix), FileFolder(place.kept, durable=False)
    files = Files(index, folder, FileLimits(2**30, 0, 0, 3600), holders)
    try:
        await index.keep([path.name for path in place.kept.rglob("payload_*")], 1)
        await files.expire()
        await files.sweep(left_over_s=-1)
    finally:
        await servers.aclose()
    await place.service.start()


def made_of(data: bytes) -> bytes:
    return data[::-1][:2_000_000]


async def test_a_worker_reads_only_the_contents_of_its_services_entries(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(
        {"name": "svc", "worker_token": "of svc"},
        {"name": "other", "worker_token": "of other"},
        files_dir=str(tmp_path / "kept"),
        files_reserve_mb=0,
    )
    async with (
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
        aiohttp.ClientSession() as session,
    ):

        async def status(file_id: str, token: str, of: str = "svc", method: str = "GET") -> int:
            path = f"{names.WORK_FILES_PATH.format(service=of)}/{file_id}/content"
            headers = {"Authorization": token, "Range": "bytes=-1000"}
            async with session.request(method, service.url + path, headers=headers) as answer:
                if answer.status == 206 and method == "GET":
                    assert await answer.read() == CONTENT[-1000:]
                return answer.status

        uploaded = await client.files.upload(CONTENT)
        receipt = await client.put(CONTENT)
        (held,) = {path.name for path in (tmp_path / "kept").rglob("payload_*")}
        assert await status(held, "of svc") == 206
        assert await status(held, "of svc", method="HEAD") == 206
        assert await status(held, "of other") == 401
        assert await status(held, "of other", of="other") == 404
        assert await status(uploaded.id, "of svc") == 404
        assert await status("payload_0", "of svc") == 404
        address = service.url + names.WORK_FILES_PATH.format(service="svc")
        for headers, status_of_post in (
            ({"Authorization": "of other"}, 401),
            ({"Authorization": "of svc", "Content-Encoding": "gzip"}, 400),
        ):
            async with session.post(address, data=b"result", headers=headers) as answer:
                assert answer.status == status_of_post
        await client.delete(receipt.index)
        await client.files.delete(uploaded.id)
