"""A worker that is asked to leave, or has had nothing to do for long: it ends and costs no job."""

from client_sdk.wire.worker import Completion, Delivery, Rejection, Result
from tests.inference_worker.conftest import StartInProcess
from tests.inference_worker.peer import Peer
from tests.waiting import hold_for, wait_until


def delivery(index: int) -> Delivery:
    return Delivery(index, 1, f"r-{index}", b"x", max_delivery=3)


async def test_a_worker_says_that_it_understands_to_leave(
    start: StartInProcess, peer: Peer
) -> None:
    await start("echo")
    assert peer.hellos[0].leaves


async def test_an_idle_worker_that_is_asked_to_leave_ends(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=3)
    await peer.leave()
    await wait_until(running.task.done, "it has left")
    running.task.result()
    assert peer.windows == [0]


async def test_a_worker_that_is_asked_to_leave_finishes_whatever_its_grace_is(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=2, delay_s=1.0, grace_s=0.01)
    await peer.deliver(delivery(1), delivery(2))
    await peer.leave()
    await wait_until(running.task.done, "it has left")
    assert peer.answers == [Completion(1, 1, Result(b"x")), Completion(2, 1, Result(b"x"))]


async def test_the_grace_of_a_leaving_worker_begins_with_a_signal(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=1, delay_s=600, grace_s=0.01)
    await peer.deliver(delivery(1))
    await peer.leave()
    await wait_until(lambda: peer.windows == [0], "it takes nothing more")
    await hold_for(0.2, lambda: not running.task.done(), "it still works")
    running.worker.drain()
    await wait_until(running.task.done, "it has left")
    assert peer.rejections == [Rejection(1, 1, "Shutdown", "the worker is leaving")]


async def test_being_asked_twice_changes_nothing(start: StartInProcess, peer: Peer) -> None:
    running = await start("echo", capacity=1, delay_s=0.5)
    await peer.deliver(delivery(1))
    await peer.leave()
    await peer.leave()
    await wait_until(running.task.done, "it has left")
    assert peer.answers == [Completion(1, 1, Result(b"x"))]


async def test_an_idle_worker_asks_to_leave_and_still_runs_what_was_on_its_way(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", capacity=1, exit_when_idle_s=0.05)
    await wait_until(lambda: peer.asked_to_leave, "it has asked")
    # The service had delivered this before it closed the window.
    await peer.deliver(delivery(1))
    await peer.leave()
    await wait_until(running.task.done, "it has left")
    assert peer.answers == [Completion(1, 1, Result(b"x"))]
    assert peer.asked_to_leave == 1


async def test_an_idle_worker_asks_again_on_a_new_connection(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start("echo", exit_when_idle_s=0.05)
    await wait_until(lambda: peer.asked_to_leave, "it has asked")
    await peer.cut()
    await wait_until(lambda: peer.asked_to_leave == 2, "it has asked again")
    await peer.leave()
    await wait_until(running.task.done, "it has left")


async def test_an_idle_worker_of_an_older_service_leaves_by_itself(
    start: StartInProcess, peer: Peer
) -> None:
    peer.understands_leave = False
    running = await start("echo", exit_when_idle_s=0.05)
    await wait_until(running.task.done, "it has left")
    assert (peer.asked_to_leave, peer.windows) == (0, [0])


async def test_a_worker_with_a_job_or_a_lost_service_is_not_idle(
    start: StartInProcess, peer: Peer
) -> None:
    await start("echo", capacity=1, delay_s=600, exit_when_idle_s=0.05)
    await wait_until(lambda: peer.asked_to_leave or peer.connected, "it is connected")
    await peer.deliver(delivery(1))
    before = peer.asked_to_leave
    await hold_for(0.3, lambda: peer.asked_to_leave == before, "it does not ask")
