"""A child is kept alive, with patience, and is given up when it cannot be."""

import signal
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from client_sdk.respawn import Respawn
from deploy.errors import ChildFailed
from deploy.local import keeper
from deploy.local.child import Child
from deploy.local.keeper import Keeper
from tests.deploy.processes import alive
from tests.waiting import wait_until

MakeKeeper = Callable[..., Keeper]


@pytest.fixture
async def make_keeper(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeKeeper]:
    """Make keepers of Python programs, impatient ones, and stop them after the test."""
    monkeypatch.setattr(keeper, "RESPAWN", Respawn(first_s=0.01, longest_s=10.0))
    made: list[Keeper] = []

    def make(program: str, *, may_leave: bool = False) -> Keeper:
        async def start() -> Child:
            return Child.start("kept", [sys.executable, "-c", program])

        made.append(Keeper("kept", start, on_event=lambda _: None, grace_s=5, may_leave=may_leave))
        return made[-1]

    yield make
    for one in made:
        await one.stop()


async def test_a_killed_child_is_started_again(make_keeper: MakeKeeper) -> None:
    kept = make_keeper("import signal; signal.pause()")
    first = await kept.start()
    await first.kill()
    await wait_until(lambda: kept.restarts == 1, "it was started again")
    assert kept.child is not None
    assert alive(kept.child.pid)
    assert kept.child.pid != first.pid


async def test_a_child_that_gives_up_at_once_is_not_tried_again(make_keeper: MakeKeeper) -> None:
    kept = make_keeper("import sys; sys.exit('there is no such engine')")
    await kept.start()
    with pytest.raises(ChildFailed) as caught:
        await kept.failure()
    assert caught.value.last_lines == ("there is no such engine",)


async def test_a_child_that_leaves_on_purpose_is_not_started_again(
    make_keeper: MakeKeeper,
) -> None:
    kept = make_keeper("", may_leave=True)
    await kept.start()
    await kept.failure()
    assert kept.has_left
    assert kept.restarts == 0


async def test_a_server_that_ends_with_0_is_started_again(make_keeper: MakeKeeper) -> None:
    kept = make_keeper("")
    await kept.start()
    await wait_until(lambda: kept.restarts > 0, "it was started again")


async def test_stopping_ends_the_child_and_the_restarts(make_keeper: MakeKeeper) -> None:
    kept = make_keeper("import signal; signal.pause()")
    child = await kept.start()
    await kept.stop()
    assert child.exit_code == -signal.SIGTERM
    assert kept.restarts == 0


async def test_a_child_that_does_not_listen_is_killed_after_its_grace() -> None:
    program = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('deaf', flush=True); signal.pause()"
    )
    lines: list[str] = []
    child = Child.start("deaf", [sys.executable, "-c", program], on_line=lines.append)
    await wait_until(lambda: lines == ["deaf"], "it ignores SIGTERM")
    assert await child.stop(grace_s=0.1) == -signal.SIGKILL


async def test_what_a_child_has_started_dies_with_it() -> None:
    program = (
        "import signal, subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']).pid, "
        "flush=True)\n"
        "signal.pause()\n"
    )
    lines: list[str] = []
    child = Child.start("parent", [sys.executable, "-c", program], on_line=lines.append)
    await wait_until(lambda: lines, "the grandchild was started")
    await child.kill()
    await wait_until(lambda: not alive(int(lines[0])), "the grandchild has ended")
