"""Twenty thousand calls leave the memory of both processes where it was."""

import pytest

from inference_worker.process import EngineProcess
from inference_worker.resource_usage import memory_bytes
from tests.inference_worker.conftest import HANDLERS, StartInProcess
from tests.inference_worker.peer import Peer
from tests.inference_worker.test_worker import delivery
from tests.waiting import wait_until

CALLS = 20_000
#: Delivered together; the window is larger than that.
TOGETHER = 100


@pytest.mark.slow
@pytest.mark.new_interpreters("a tenth of the memory of a forked process is more")
@pytest.mark.timeout(300)
async def test_many_handler_calls_leave_the_memory_as_it_was(
    start: StartInProcess, peer: Peer
) -> None:
    running = await start(f"{HANDLERS}:Upper", capacity=TOGETHER)
    engine = running.worker.engine
    assert isinstance(engine, EngineProcess)
    taken: list[tuple[int, int]] = []
    for first in range(0, CALLS, TOGETHER):
        await peer.deliver(*(delivery(first + n + 1, b"text") for n in range(TOGETHER)))
        await wait_until(lambda: len(peer.answers) == TOGETHER, "all are answered")
        # What the test itself keeps would grow.
        peer.answers.clear()
        if first + TOGETHER in (CALLS // 10, CALLS):
            taken.append((memory_bytes(), memory_bytes(engine.pid)))
    (ours, theirs), (ours_then, theirs_then) = taken
    assert ours_then < 1.1 * ours
    assert theirs_then < 1.1 * theirs
