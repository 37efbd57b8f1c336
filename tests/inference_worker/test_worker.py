"""The worker's loop: what it does with deliveries, losses and failures."""

import os
import signal

import pytest

from client_sdk.wire.worker import Completion, Delivery, Held, Rejection, Result
from inference_worker.process import EngineProcess
from tests.inference_worker.conftest import HANDLERS, StartInProcess
from tests.inference_worker.peer import Peer
from tests.waiting import hold_for, wait_until


def delivery(index: int, data: bytes = b"x", *, attempt: int = 1, deaths: int = 0) -> Delivery:
    return Delivery(index, attempt, f"r-{index}", data, max_delivery=3, deaths=deaths)


async def test_the_window_is_the_capacity_of_the_engine(start: StartInProcess, peer: Peer) -> None:
    await start("echo", capacity=7)
    assert (peer.hellos[0].window, peer.hellos[0].uid) == (7, "uid-1")


async def test_every_delivery_is_answered_with_its_result(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=200)
    await peer.deliver(*(delivery(n, b"%d" % n) for n in range(1, 201)))
    await wait_until(lambda: len(peer.answers) == 200, "all are answered")
    assert peer.completions == [Completion(n, 1, Result(b"%d" % n)) for n in range(1, 201)]
    assert running.count("completions_total", end="result") == 200
    assert running.worker.held == 0


async def test_an_empty_output_is_a_completion_without_a_result(
    start: StartInProcess, peer: Peer
) -> None:
    await start("echo", answer="")
    await peer.deliver(delivery(1))
    await wait_until(lambda: peer.completions == [Completion(1, 1, None)], "it is answered")


async def test_a_failed_job_is_rejected_until_its_last_attempt(
    start: StartInProcess, peer: Peer
) -> None:
    await start("echo", fail_first_attempts=9, fail_code="503")

    def answers() -> int:
        return len(peer.answers)

    for attempt in (1, 2, 3):
        await peer.deliver(delivery(1, attempt=attempt))
        await wait_until(lambda: answers() == attempt, "it is answered")  # noqa: B023
    assert [(a.attempt, a.code) for a in peer.rejections] == [(1, "503"), (2, "503")]
    assert peer.completions[0].attempt == 3
    assert peer.completions[0].result is not None
    tags = {"lastCode": "503", "errorCode": "503", "errorType": "transient"}
    assert peer.completions[0].result.tags == tags


async def test_a_bad_input_is_answered_at_once(start: StartInProcess, peer: Peer) -> None:
    await start(f"{HANDLERS}:obey")
    await peer.deliver(delivery(1, b"bad"))
    await wait_until(lambda: peer.answers, "it is answered")
    tags = {"lastCode": "400", "errorCode": "BadInput", "errorType": "bad_input"}
    assert peer.answers == [Completion(1, 1, Result(b"a number is missing", tags))]


@pytest.mark.parametrize("own_process", [True, False])
@pytest.mark.parametrize("engine", ["echo", f"{HANDLERS}:obey"])
async def test_an_engine_answers_alike_in_this_process_and_in_its_own(
    start: StartInProcess, peer: Peer, engine: str, own_process: bool
) -> None:
    await start(engine, own_process=own_process, capacity=5)
    await peer.deliver(*(delivery(n, b"%d" % n) for n in range(1, 51)))
    await wait_until(lambda: len(peer.answers) == 50, "all are answered")
    results = {answer.index: answer.result for answer in peer.completions}
    assert results == {n: Result(b"%d" % n) for n in range(1, 51)}


async def test_an_entry_that_comes_again_while_it_runs_is_run_once_and_answered_newest(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=4, delay_s=0.3)
    await peer.deliver(delivery(1, attempt=1))
    await wait_until(lambda: running.worker.held == 1, "it runs")
    await peer.deliver(delivery(1, attempt=2))
    await wait_until(lambda: peer.answers, "it is answered")
    assert peer.answers == [Completion(1, 2, Result(b"x"))]
    assert running.count("run_seconds_count") == 1


async def test_what_is_lost_at_a_reconnect_is_cancelled_and_the_rest_goes_on(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=4, delay_s=0.5)
    await peer.deliver(delivery(1), delivery(2))
    await wait_until(lambda: running.worker.held == 2, "both run")
    peer.lost = (Held(1, 1),)
    await peer.cut()
    await wait_until(lambda: len(peer.hellos) == 2, "the worker is back")
    assert peer.hellos[1].held == (Held(1, 1), Held(2, 1))
    await wait_until(lambda: running.count("lost_deliveries_total") == 1, "one was cancelled")
    await wait_until(lambda: peer.answers, "the other is answered")
    assert [answer.index for answer in peer.answers] == [2]


async def test_a_lost_entry_that_is_delivered_again_is_run_again(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=4, delay_s=0.3)
    await peer.deliver(delivery(1))
    await wait_until(lambda: running.worker.held == 1, "it runs")
    peer.lost = (Held(1, 1),)
    await peer.cut()
    await wait_until(lambda: peer.connected, "the worker is back")
    await peer.deliver(delivery(1, attempt=2))
    await wait_until(lambda: peer.answers, "it is answered")
    assert peer.answers == [Completion(1, 2, Result(b"x"))]


async def test_a_result_that_is_too_big_is_answered_with_an_error(
    start: StartInProcess, peer: Peer
) -> None:
    peer.accept = False
    await start("echo")
    await peer.deliver(delivery(1))
    await wait_until(lambda: peer.answers, "it is answered")
    await peer.outcome(peer.answers, code="FRAME_TOO_BIG")
    await wait_until(lambda: len(peer.answers) == 2, "it is answered again")
    result = peer.completions[1].result
    assert result is not None
    tags = {"lastCode": "413", "errorCode": "ResultTooBig", "errorType": "internal"}
    assert result.tags == tags
    await peer.outcome(peer.answers[1:])


async def test_a_dead_engine_gives_its_deliveries_back_and_closes_the_window_until_it_is_back(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start(f"{HANDLERS}:obey", capacity=3)
    engine = running.worker.engine
    assert isinstance(engine, EngineProcess)
    await peer.deliver(*(delivery(n, b"sleep 600") for n in (1, 2, 3)))
    await wait_until(lambda: running.worker.held == 3, "they run")
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    await wait_until(lambda: peer.windows == [0, 3], "the window has closed and opened")
    assert [(a.index, a.code) for a in peer.rejections] == [(n, "EngineDied") for n in (1, 2, 3)]
    assert running.count("engine_deaths_total") == 1
    await peer.deliver(delivery(1, attempt=2))
    await wait_until(lambda: peer.completions, "the new engine answers")
    assert len(peer.hellos) == 1


async def test_an_engine_stuck_in_c_does_not_delay_the_heartbeat(
    start: StartInProcess, peer: Peer
) -> None:
    peer.lease_ms = 300
    await start(f"{HANDLERS}:obey", capacity=1)
    await peer.deliver(delivery(1, b"hold 1.5"))
    await wait_until(lambda: peer.answers, "it is answered")
    assert peer.completions[0].result == Result(b"hold 1.5")
    # 15 thirds of the lease passed; a machine that is busy with other things may skip a few.
    assert peer.renewals >= 10
    assert len(peer.hellos) == 1


async def test_draining_finishes_what_is_held_and_takes_nothing_new(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=4, delay_s=0.5)
    await peer.deliver(delivery(1))
    await wait_until(lambda: running.worker.held == 1, "it runs")
    running.worker.drain()
    await wait_until(lambda: peer.windows == [0], "the window is closed")
    await peer.deliver(delivery(2))
    await running.task
    assert peer.completions == [Completion(1, 1, Result(b"x"))]
    assert peer.rejections == [Rejection(2, 1, "Shutdown", "the worker is leaving")]


async def test_draining_rejects_what_is_still_held_after_the_grace(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=4, delay_s=600, grace_s=0.2)
    await peer.deliver(delivery(1), delivery(2))
    await wait_until(lambda: running.worker.held == 2, "they run")
    running.worker.drain()
    await running.task
    assert [(a.index, a.code) for a in peer.answers if isinstance(a, Rejection)] == [
        (1, "Shutdown"),
        (2, "Shutdown"),
    ]


async def test_draining_waits_for_the_outcome_of_the_last_answers(
    start: StartInProcess, peer: Peer
) -> None:
    peer.accept = False
    running = await start("echo")
    await peer.deliver(delivery(1))
    await wait_until(lambda: peer.answers, "it is answered")
    running.worker.drain()
    await hold_for(0.3, lambda: not running.task.done(), "the worker waits")
    await peer.outcome(peer.answers)
    await running.task


async def test_pieces_and_progress_reach_the_worker_and_are_counted(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start(f"{HANDLERS}:Yields", own_process=True)
    await peer.deliver(delivery(1, b"3"))
    await wait_until(lambda: peer.answers, "it is answered")
    assert peer.completions == [Completion(1, 1, Result(b"0 1 2 "))]
    assert running.count("pieces_total") == 3


async def test_a_cancel_right_behind_its_delivery_is_answered(
    start: StartInProcess, peer: Peer
) -> None:
    await start(capacity=1, delay_s=600)
    for index in range(1, 21):
        await peer.deliver(delivery(index, b"x"))
        await peer.cancel(Held(index, 1))
        await wait_until(lambda: len(peer.answers) == 1, "the slot is free again")
        peer.answers.clear()
