"""A bad job is distinguished from a bad worker: real engines, killed by their jobs."""

import os
import signal
from collections import Counter

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from client_sdk.wire.worker import Completion, Failure, Held, Rejection, Result
from inference_worker.child import CANCEL_GRACE_S
from inference_worker.process import EngineProcess
from tests.conftest import StartService, StartWorker
from tests.inference_worker.conftest import HANDLERS, StartInProcess
from tests.inference_worker.peer import Peer
from tests.inference_worker.test_with_the_queue_service import collect, held
from tests.inference_worker.test_worker import delivery
from tests.promises.operators import Operator
from tests.running import TOKEN
from tests.waiting import wait_until


async def test_a_suspect_runs_alone_and_nothing_is_taken_meanwhile(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=4, delay_s=0.2)
    await peer.deliver(
        delivery(1),
        delivery(2, attempt=2, deaths=1),
        delivery(3),
    )
    await wait_until(lambda: peer.windows == [0], "nothing more is taken")
    assert (running.worker.load().running, running.worker.load().waiting) == (1, 2)
    await wait_until(lambda: len(peer.answers) == 3, "all are answered")
    assert [answer.index for answer in peer.answers] == [1, 2, 3]
    await wait_until(lambda: peer.windows == [0, 4], "it takes jobs again")


async def test_a_job_that_killed_two_engines_is_answered_and_not_run(
    start: StartInProcess, peer: Peer
) -> None:
    await start(f"{HANDLERS}:misbehave")
    await peer.deliver(delivery(1, b"kill", attempt=2, deaths=2))
    await wait_until(lambda: peer.answers, "it is answered")
    tags = {"lastCode": "500", "errorCode": "PoisonJob", "errorType": "engine_lost"}
    sentence = b"the engines of 2 workers died while they ran it"
    failure = Failure("PoisonJob", sentence.decode(), "engine_lost")
    assert peer.answers == [Completion(1, 2, Result(sentence, tags), failure)]


async def test_failures_in_a_row_make_the_worker_rest_and_restart_its_engine(
    start: StartInProcess, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    running = await start(f"{HANDLERS}:Broken", capacity=1, sick_after=3)
    engine = running.worker.engine
    assert isinstance(engine, EngineProcess)
    first = engine.pid
    for index in (1, 2, 3):
        await peer.deliver(delivery(index))
        await wait_until(lambda: len(peer.answers) == index, "it is rejected")  # noqa: B023
    codes = [answer.code for answer in peer.answers if isinstance(answer, Rejection)]
    # Only then it is known that the worker is to blame: the third is not charged.
    assert codes == ["OSError", "OSError", "Shutdown"]
    await wait_until(lambda: peer.windows == [0, 1], "the worker is back after its rest")
    assert engine.pid != first
    assert running.count("rests_total") == 1
    assert "the last one with OSError: OSError: " in caplog.text


async def test_a_job_that_runs_for_too_long_is_cut_off_with_its_process(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start(f"{HANDLERS}:misbehave", capacity=2, run_timeout_s=1.0)
    await peer.deliver(delivery(1, b"sleep 600"))
    await wait_until(lambda: peer.answers, "it is rejected")
    sentence = "it ran for longer than 1 s"
    assert peer.answers == [Rejection(1, 1, "RunTimeout", sentence, "timeout")]
    await wait_until(lambda: peer.windows == [0, 2], "the engine was replaced")
    await peer.deliver(delivery(2, b"x"))
    await wait_until(lambda: peer.completions, "the new one answers")
    assert running.count("run_timeouts_total") == 1


async def test_a_stuck_job_that_is_lost_ends_within_seconds_and_its_neighbour_goes_out_again(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start(f"{HANDLERS}:misbehave", capacity=2)
    await peer.deliver(delivery(1, b"sleep 600"), delivery(2, b"sleep 600"))
    await wait_until(lambda: running.worker.load().running == 2, "both run")
    peer.lost = (Held(1, 1),)
    await peer.cut()
    await wait_until(lambda: peer.answers, "the neighbour goes out again", CANCEL_GRACE_S + 2)
    sentence = "the engine was replaced, because a cancelled job did not stop"
    assert peer.answers == [Rejection(2, 1, "Shutdown", sentence)]
    await wait_until(lambda: peer.windows[-1:] == [2], "the engine is back")
    await peer.deliver(delivery(2, b"x"))
    await wait_until(lambda: peer.completions, "it is answered")
    assert len(peer.answers) == 2


async def test_a_poison_job_ends_as_a_dead_letter_and_fifty_healthy_ones_finish(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 5})
    async with (
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
        aiohttp.ClientSession() as session,
    ):
        operator = Operator(session, service.url)
        puts = [await client.put(b"sleep 0.05") for _ in range(25)]
        poison = await client.put(b"kill", tags={"colour": "black"})
        puts += [await client.put(b"sleep 0.05") for _ in range(25)]
        for _ in range(3):
            await start_worker(service.url, engine=f"{HANDLERS}:misbehave")
        frames = await collect(client, 51, timeout_s=50)
        by_request = {frame.tags["requestId"]: frame for frame in frames}
        assert by_request[poison.request_id].tags["errorCode"] == "PoisonJob"
        for receipt in puts:
            assert by_request[receipt.request_id].data == b"sleep 0.05"

        (letter,) = await operator.letters()
        assert (letter["reason"], letter["request_id"]) == ("PoisonJob", poison.request_id)
        assert len(letter["deaths"]) == 2
        # The cause is fixed, and it is tried again.
        await operator.ask("PATCH", f"/{letter['id']}", json={"data": "sleep 0"})
        await operator.ask("POST", f"/{letter['id']}/replay")
        (frame,) = await collect(client, 1)
        tags = {"colour": "black", "requestId": poison.request_id}
        assert (frame.data, frame.tags) == (b"sleep 0", tags)
        assert await operator.letters() == []
        assert await client.sink.get() == []


async def test_the_only_worker_loses_three_engines_to_a_poison_job_and_goes_on(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 0})
    worker = await start_worker(service.url, engine=f"{HANDLERS}:misbehave", worker_threads=1)
    async with (
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
        aiohttp.ClientSession() as session,
    ):
        operator = Operator(session, service.url)
        await client.put(b"kill")
        await client.put(b"sleep 0")
        frames = await collect(client, 2, timeout_s=40)
        assert {frame.tags.get("errorCode") for frame in frames} == {None, "PoisonJob"}
        assert worker.log.count("is rejected with EngineDied") == 3
        (letter,) = await operator.letters()
        assert (letter["reason"], letter["attempts"]) == ("PoisonJob", 3)
        assert await operator.purge_all() == 1


async def test_a_broken_worker_among_three_does_not_eat_the_queue(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 5})
    engines = [f"{HANDLERS}:{name}" for name in ("Broken", "Upper", "Upper")]
    workers = [await start_worker(service.url, engine=engine) for engine in engines]
    for worker in workers:
        await wait_until(lambda: "Connected" in worker.log, "the worker is there")  # noqa: B023
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        for number in range(100):
            await client.put(f"job {number}".encode())
        frames = await collect(client, 100, timeout_s=40)
    results = Counter(frame.data.decode() for frame in frames)
    assert results == Counter(f"JOB {number}!" for number in range(100))
    assert "the worker pauses" in workers[0].log


async def test_an_engine_killed_with_four_jobs_in_it_answers_each_once(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    worker = await start_worker(service.url, engine=f"{HANDLERS}:obey", worker_threads=4)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        await client.put(b"pid")
        (frame,) = await collect(client, 1)
        for _ in range(4):
            await client.put(b"sleep 1")
        await wait_until(lambda: held(worker) == 4, "four run")
        os.kill(int(frame.data), signal.SIGKILL)
        frames = await collect(client, 4)
    assert [frame.data for frame in frames] == [b"sleep 1"] * 4
    assert worker.log.count("is rejected with EngineDied") == 4
