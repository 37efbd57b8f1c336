"""The engine in a process of its own: real processes, really killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from inference_worker.engines.engine import Context, EngineState, Failed, Finished, Job, Started
from inference_worker.engines.load import EngineSpec
from inference_worker.errors import EngineFailed
from inference_worker.logs import LogSettings
from inference_worker.process import EngineProcess
from tests.inference_worker.events import end_of
from tests.waiting import wait_until, wait_until_blocking

Spawn = Callable[..., Awaitable[EngineProcess]]


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    """Start the engine process of a spec, and stop it after the test."""
    spawned: list[EngineProcess] = []

    async def start(
        name: str,
        *,
        capacity: int | None = None,
        silence_s: float = 0.0,
        **options: object,
    ) -> EngineProcess:
        spec = EngineSpec(name, options, capacity)
        engine = EngineProcess(spec, logs=LogSettings(), silence_s=silence_s)
        spawned.append(engine)
        await engine.start(Context())
        return engine

    yield start
    for engine in spawned:
        await engine.stop(1.0)


def handler(name: str) -> str:
    return f"handler:tests.inference_worker.handlers:{name}"


def is_alive(pid: int) -> bool:
    """Say whether the process runs; a zombie, which only waits to be reaped, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def engines() -> set[int]:
    """Return the engine processes among this process's children."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return {int(pid) for pid in children if is_alive(int(pid)) and not is_tracker(int(pid))}


def is_tracker(pid: int) -> bool:
    """Say whether it is multiprocessing's own resource tracker, which stays as long as we do."""
    return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_jobs_run_in_another_process(spawn: Spawn) -> None:
    engine = await spawn(handler("obey"), capacity=3)
    assert engine.capacity == 3
    assert await end_of(engine, b"pid") == Finished(str(engine.pid).encode())
    assert engine.pid != os.getpid()
    assert (await engine.health()).state is EngineState.OK


async def test_a_large_payload_crosses_the_pipe_both_ways(spawn: Spawn) -> None:
    engine = await spawn("echo")
    payload = os.urandom(20_000_000)
    assert await end_of(engine, payload) == Finished(payload)


async def test_many_jobs_share_the_process(spawn: Spawn) -> None:
    engine = await spawn("echo", capacity=50, delay_s=1.0)
    began_at = time.monotonic()
    ends = await asyncio.gather(*(end_of(engine, b"%d" % n) for n in range(50)))
    assert ends == [Finished(b"%d" % n) for n in range(50)]
    # One after the other they would take 50 s.
    assert time.monotonic() - began_at < 40


async def test_an_engine_that_is_killed_fails_its_jobs_and_comes_back(spawn: Spawn) -> None:
    engine = await spawn(handler("obey"), capacity=5)
    capacities: list[int] = []
    engine.changed = lambda: capacities.append(engine.capacity)
    jobs = [asyncio.create_task(end_of(engine, b"sleep 600")) for _ in range(4)]
    assert await end_of(engine, b"x") == Finished(b"x")
    first_pid = engine.pid
    assert first_pid is not None

    os.kill(first_pid, signal.SIGKILL)

    died = Failed("EngineDied", "the engine's process was killed by signal 9")
    assert await asyncio.gather(*jobs) == [died] * 4
    await wait_until(lambda: capacities == [0, 5], "the engine is back")
    assert engine.pid != first_pid
    assert await end_of(engine, b"x") == Finished(b"x")


async def test_a_job_that_meets_no_engine_is_not_charged_for_it(spawn: Spawn) -> None:
    engine = await spawn(handler("obey"))
    assert await end_of(engine, b"die") == Failed(
        "EngineDied", "the engine's process exited with 3"
    )
    assert engine.capacity == 0
    assert (await engine.health()).state is EngineState.DEAD
    assert await end_of(engine, b"x") == Failed("Shutdown", "the engine is being restarted")


async def test_a_cancelled_job_ends_over_there_too(spawn: Spawn) -> None:
    engine = await spawn(handler("WaitsUntilCancelled"), capacity=1)
    for _ in range(2):
        # The second one can only start when the one thread has been given back by the first.
        events = engine.run(Job("r", b""))
        await anext(events)
        await events.aclose()


async def test_a_call_that_keeps_the_gil_over_there_does_not_stop_the_loop_here(
    spawn: Spawn,
) -> None:
    engine = await spawn(handler("obey"))
    job = asyncio.create_task(end_of(engine, b"hold 1.5"))
    loop = asyncio.get_running_loop()
    gaps, last = [], loop.time()
    while not job.done():
        await asyncio.wait({job}, timeout=0.02)
        gaps.append(loop.time() - last)
        last = loop.time()
    assert await job == Finished(b"hold 1.5")
    assert max(gaps) < 0.5


async def test_an_engine_that_gives_no_answer_is_degraded(spawn: Spawn) -> None:
    engine = await spawn(handler("obey"))
    events = engine.run(Job("r", b"hold 2"))
    assert await anext(events) == Started()

    async def degraded() -> bool:
        return (await engine.health()).state is EngineState.DEGRADED

    await wait_until(degraded, "the engine does not answer")
    assert await anext(events) == Finished(b"hold 2")
    assert (await engine.health()).state is EngineState.OK
    await events.aclose()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (handler("CannotLoad"), "did not load: FileNotFoundError: no weights"),
        (handler("DiesWhileLoading"), "did not load: its process exited with 7"),
        (handler("Nobody"), "expected a class or function Nobody"),
    ],
)
async def test_an_engine_that_does_not_load_says_why(
    spawn: Spawn, name: str, sentence: str
) -> None:
    with pytest.raises(EngineFailed, match=sentence):
        await spawn(name)


async def test_loading_can_be_given_up(spawn: Spawn) -> None:
    loading = asyncio.ensure_future(spawn(handler("LoadsForever")))
    before = engines()
    await wait_until(lambda: engines() - before, "it was spawned")
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert engines() == before


async def test_an_engine_that_does_not_stop_is_killed(spawn: Spawn) -> None:
    engine = await spawn(handler("obey"))
    pid = engine.pid
    assert pid is not None
    events = engine.run(Job("r", b"hold 600"))
    assert await anext(events) == Started()
    await engine.stop(0.2)
    assert not is_alive(pid)
    await events.aclose()


SUPERVISOR = """
import asyncio
from inference_worker.engines.engine import Context, Job
from inference_worker.engines.load import EngineSpec
from inference_worker.logs import LogSettings
from inference_worker.process import EngineProcess

async def main():
    spec = EngineSpec("handler:tests.inference_worker.handlers:obey")
    engine = EngineProcess(spec, logs=LogSettings())
    await engine.start(Context())
    events = engine.run(Job("r", b"{order}"))
    await anext(events)
    print(engine.pid, flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("order", ["sleep 600", "hold 600"])
def test_the_engine_does_not_outlive_a_supervisor_that_is_killed(
    order: str, tmp_path: Path
) -> None:
    script = tmp_path / "supervisor.py"
    script.write_text(SUPERVISOR.replace("{order}", order))
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ) as supervisor:
        assert supervisor.stdout is not None
        engine_pid = int(supervisor.stdout.readline())
        assert is_alive(engine_pid)
        supervisor.kill()
    wait_until_blocking(lambda: not is_alive(engine_pid), "the engine has ended")
