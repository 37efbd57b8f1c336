"""Workers send large results to S3 themselves; a job has its result once it was checked."""

import functools
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from client_sdk.wire import names
from client_sdk.wire import worker as wire
from tests.conftest import Serve, StartService, StartWorker
from tests.promises.peer import Peer
from tests.running import TOKEN
from tests.s3_server import Bucket
from tests.waiting import wait_until

LARGE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(100_000))
SUM = hashlib.sha256(LARGE).hexdigest()
WORK_FILES = names.WORK_FILES_PATH.format(service="svc")


class Worker:
    """A worker of `svc`, as the queue service sees it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def post(self, path: str, **query: str) -> tuple[int, dict[str, Any]]:
        async with self.session.post(f"{self.url}{WORK_FILES}{path}", params=query) as answer:
            return answer.status, await answer.json() if answer.ok else {}

    async def begin(self, size: int = len(LARGE), digest: str = SUM) -> dict[str, Any]:
        status, begun = await self.post("/uploads", bytes=str(size), sha256=digest)
        assert status == 201, begun
        return begun

    async def send(self, begun: dict[str, Any], data: bytes = LARGE) -> None:
        direct = begun["direct"]
        async with (
            aiohttp.ClientSession() as bare,
            bare.put(direct["url"], data=io.BytesIO(data), headers=direct["headers"]) as answer,
        ):
            assert answer.status == 200

    async def complete(self, begun: dict[str, Any]) -> int:
        return (await self.post(f"/{begun['id']}/complete"))[0]


@pytest.fixture
async def worker(serve: Serve, bucket: Bucket) -> AsyncIterator[Worker]:
    url = await serve({"name": "svc"}, **bucket.settings)
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        yield Worker(url, session)
    await wait_until(functools.partial(is_empty, bucket), "the files went with their jobs")


async def test_a_result_that_was_sent_to_the_storage_is_that_of_its_job(worker: Worker) -> None:
    async with AsyncQueueClient(worker.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit(b"x")
        peer = Peer(worker.session, 1)
        await peer.connect(worker.url)
        await wait_until(lambda: bool(peer.held), "the worker has the job")
        (delivery,) = peer.held.values()
        begun = await worker.begin()
        assert begun["id"].startswith("payload_")
        await worker.send(begun)
        assert await worker.complete(begun) == 200
        assert await worker.complete(begun) == 200
        result = wire.Result(b"", {}, file=begun["id"])
        done = wire.Completion(delivery.index, delivery.attempt, result)
        await peer.send(wire.Completions((done,)))
        assert await client.jobs.result(job.id) == LARGE
        peer.held.clear()
        await peer.cut()
        await client.jobs.delete(job.id)


async def test_the_same_result_twice_is_two_files(worker: Worker) -> None:
    one, other = await worker.begin(), await worker.begin()
    assert one["id"] != other["id"]
    for begun in (one, other):
        assert await worker.complete(begun) == 409, "nothing was sent"
        assert await worker.complete(begun) == 404, "and so it is not kept"


async def test_another_result_than_was_announced_is_refused(worker: Worker) -> None:
    begun = await worker.begin()
    await worker.send(begun, LARGE[:-1] + b"x")
    assert await worker.complete(begun) == 400


async def test_what_is_no_result_is_named(worker: Worker) -> None:
    assert (await worker.post("/uploads", bytes="5", sha256="short"))[0] == 400
    assert (await worker.post("/uploads", sha256=SUM))[0] == 400
    assert (await worker.post("/uploads", bytes=str(2**60), sha256=SUM))[0] == 413


async def test_a_folder_has_no_address(serve: Serve, tmp_path: Path) -> None:
    url = await serve({"name": "svc"}, files_dir=str(tmp_path), files_reserve_mb=0)
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        assert "direct" not in await Worker(url, session).begin()


async def test_a_worker_sends_a_large_result_to_the_storage_by_itself(
    start_service: StartService, start_worker: StartWorker, bucket: Bucket, tmp_path: Path
) -> None:
    film = tmp_path / "film"
    film.write_bytes(LARGE * 6)
    service = await start_service({"name": "svc"}, **bucket.settings)
    engine = "handler:tests.inference_worker.large_file_handler:same"
    await start_worker(service.url, engine=engine, files_dir=str(tmp_path / "work"))
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        for is_refused in (False, True):
            if is_refused:
                # The queue service takes it then.
                bucket.fail("500", method="PUT", path="X-Amz-Signature")
            job = await client.jobs.submit(film)
            found = await client.jobs.result(job.id, to=tmp_path / "made", timeout_s=60)
            assert found.read_bytes() == LARGE * 6
            await client.jobs.delete(job.id)
    sent = [one for one in bucket.requests if "incoming/payload_" in one and "/direct" in one]
    assert [one for one in sent if one.startswith("PUT")]
    # Here, because nothing may block this event loop meanwhile: the proxy of the bucket is in it.
    await wait_until(functools.partial(is_empty, bucket), "the files went with their jobs")


async def is_empty(bucket: Bucket) -> bool:
    return await bucket.stored() == []
