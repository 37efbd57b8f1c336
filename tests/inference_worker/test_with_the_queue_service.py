"""Workers and the real queue service: what a client gets when workers fail, stall and leave."""

import asyncio
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from client_sdk import AsyncQueueClient, Frame
from tests.conftest import StartService, StartWorker
from tests.inference_worker.conftest import HANDLERS
from tests.running import TOKEN, QueueServiceProcess, WorkerProcess
from tests.waiting import LATE_S, wait_until

#: Short, so that a job of a few seconds outlasts it several times.
LEASE_MS = 600


@pytest.fixture
async def client() -> AsyncIterator[Callable[[QueueServiceProcess], AsyncQueueClient]]:
    opened: list[AsyncQueueClient] = []

    def open_client(service: QueueServiceProcess) -> AsyncQueueClient:
        opened.append(AsyncQueueClient(service.url, "svc", token=TOKEN))
        return opened[-1]

    yield open_client
    for one in opened:
        await one.close()


OpenClient = Callable[[QueueServiceProcess], AsyncQueueClient]


async def connected(worker: WorkerProcess) -> None:
    await wait_until(lambda: "Connected, with a window" in worker.log, "the worker is connected")


async def collect(client: AsyncQueueClient, count: int, *, timeout_s: float = 60.0) -> list[Frame]:
    """Read this number of results from the sink, and make sure that there are no more."""
    frames: list[Frame] = []
    end = time.monotonic() + timeout_s
    while len(frames) < count and time.monotonic() < end:
        frames += await client.sink.get(length=count, timeout_s=1.0)
    frames += await client.sink.get(length=count)
    assert len(frames) == count
    return frames


async def test_what_was_put_is_answered_by_the_handler_and_read_at_the_sink(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=f"{HANDLERS}:Upper")
    queue = client(service)
    receipts = [await queue.put(f"text {n}".encode(), tags={"n": str(n)}) for n in range(20)]
    frames = await collect(queue, 20)
    assert {frame.tags["requestId"] for frame in frames} == {r.request_id for r in receipts}
    assert {frame.data for frame in frames} == {f"TEXT {n}!".encode() for n in range(20)}
    assert {frame.tags["n"] for frame in frames} == {str(n) for n in range(20)}


async def test_a_failing_job_is_answered_after_its_last_attempt(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 3})
    worker = await start_worker(service.url, engine=f"{HANDLERS}:obey")
    queue = client(service)
    await queue.put(b"busy")
    await queue.put(b"bad")
    results = {frame.tags["errorCode"]: frame for frame in await collect(queue, 2)}
    assert results["503"].data == b"the device is busy"
    assert results["503"].tags["lastCode"] == "503"
    assert results["BadInput"].tags["lastCode"] == "400"
    assert worker.log.count("is rejected with 503") == 2


async def test_an_empty_output_leaves_no_result(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=f"{HANDLERS}:obey")
    queue = client(service)
    await queue.put(b"none")

    async def empty() -> bool:
        return await queue.count() == 0

    await wait_until(empty, "the input entry is done")
    assert await queue.sink.get() == []


async def test_a_leaving_worker_hands_over_at_once_and_nobody_is_charged_for_it(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    # With one attempt only, a charge for the leaving would be seen as an error result.
    service = await start_service({"name": "svc", "max_delivery": 1})
    leaving = await start_worker(service.url, engine_options={"delay_s": 600}, grace_s=0.2)
    queue = client(service)
    for n in range(5):
        await queue.put(b"%d" % n)
    await wait_until(lambda: held(leaving) == 5, "the worker holds them")
    staying = await start_worker(service.url)
    await connected(staying)
    began_at = time.monotonic()
    assert leaving.process is not None
    leaving.process.send_signal(signal.SIGTERM)
    frames = await collect(queue, 5)
    assert time.monotonic() - began_at < 1 + LATE_S
    assert Counter(frame.data for frame in frames) == Counter(b"%d" % n for n in range(5))
    assert not any("lastCode" in frame.tags for frame in frames)
    await wait_until(lambda: not leaving.running, "it has left")
    assert leaving.process.returncode == 0


async def test_a_killed_workers_jobs_are_with_another_within_a_second(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    service = await start_service()
    dying = await start_worker(service.url, engine_options={"delay_s": 600})
    queue = client(service)
    for n in range(5):
        await queue.put(b"%d" % n)
    await wait_until(lambda: held(dying) == 5, "the worker holds them")
    other = await start_worker(service.url)
    await connected(other)
    dying.kill()
    began_at = time.monotonic()
    frames = await collect(queue, 5)
    # One second is the promise; without it they would wait for the lease.
    assert time.monotonic() - began_at < 1 + LATE_S
    assert Counter(frame.data for frame in frames) == Counter(b"%d" % n for n in range(5))


async def test_a_frozen_worker_loses_its_jobs_and_knows_it_when_it_thaws(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    service = await start_service(lease_ms=LEASE_MS)
    frozen = await start_worker(service.url, engine_options={"delay_s": 5})
    queue = client(service)
    for n in range(5):
        await queue.put(b"%d" % n)
    await wait_until(lambda: held(frozen) == 5, "the worker holds them")
    other = await start_worker(service.url)
    await connected(other)
    frozen.freeze()
    began_at = time.monotonic()
    frames = await collect(queue, 5)
    assert time.monotonic() - began_at < LEASE_MS / 1000 + 1 + LATE_S
    assert Counter(frame.data for frame in frames) == Counter(b"%d" % n for n in range(5))
    frozen.thaw()
    await wait_until(lambda: held(frozen) == 0, "it has given them up")
    assert sample(frozen, "lost_deliveries_total") == 5
    await queue.put(b"again")
    await collect(queue, 1)


async def test_an_engine_stuck_in_c_for_three_leases_keeps_its_jobs(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    service = await start_service(lease_ms=LEASE_MS)
    stuck = await start_worker(service.url, engine=f"{HANDLERS}:obey", worker_threads=1)
    await connected(stuck)
    queue = client(service)
    await queue.put(b"hold 2")
    await wait_until(lambda: held(stuck) == 1, "the worker holds it")
    other = await start_worker(service.url)
    await connected(other)
    frames = await collect(queue, 1)
    assert frames[0].data == b"hold 2"
    assert arrived(stuck) == 1
    assert arrived(other) == 0


async def test_an_engine_that_is_killed_gives_its_jobs_to_its_successor(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    service = await start_service()
    worker = await start_worker(service.url, engine=f"{HANDLERS}:DiesOnce", worker_threads=1)
    queue = client(service)
    await queue.put(str(worker.log_path.with_suffix(".marker")).encode())
    frames = await collect(queue, 1)
    assert frames[0].data == b"answered by the second"
    assert "The engine is started again: the engine's process exited with 9." in worker.log
    assert sample(worker, "engine_deaths_total") == 1


async def test_a_worker_with_a_wrong_token_says_so_and_exits_with_1(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    worker = await start_worker(service.url, wait=False, token="wrong")
    await wait_until(lambda: not worker.running, "the worker has ended")
    assert worker.process is not None
    assert worker.process.returncode == 1
    assert "UNAUTHORIZED" in worker.log
    assert "Traceback" not in worker.log
    assert "wrong" not in worker.log


async def test_a_result_that_the_sink_does_not_take_is_answered_with_an_error(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    service = await start_service({"name": "svc", "sink": {"max_payload_size_kb": 1}})
    await start_worker(service.url)
    queue = client(service)
    await queue.put(b"x" * 5000)
    frames = await collect(queue, 1)
    assert frames[0].tags["errorCode"] == "ResultTooBig"
    assert frames[0].tags["lastCode"] == "413"


async def test_failures_and_a_killed_worker_leave_one_result_each(
    start_service: StartService, start_worker: StartWorker, client: OpenClient
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 0}, lease_ms=LEASE_MS)
    options = {"delay_s": [0.0, 0.05], "fail_every": 7}
    workers = [await start_worker(service.url, engine_options=options) for _ in range(2)]
    queue = client(service)
    puts = [asyncio.create_task(queue.put(b"%d" % n)) for n in range(300)]
    receipts = await asyncio.gather(*puts)
    workers[0].kill()
    workers.append(await start_worker(service.url, engine_options=options))
    frames = await collect(queue, 300, timeout_s=40)
    requests = Counter(frame.tags["requestId"] for frame in frames)
    assert requests == Counter(receipt.request_id for receipt in receipts)


def sample(worker: WorkerProcess, name: str) -> float:
    """Read one number from the worker's metrics."""
    with urllib.request.urlopen(worker.metrics_url, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    for line in lines:
        if line.startswith(f"penstock_worker_{name} "):
            return float(line.split()[1])
    return 0.0


def held(worker: WorkerProcess) -> float:
    return sample(worker, "held")


def arrived(worker: WorkerProcess) -> float:
    return sample(worker, "deliveries_total")
