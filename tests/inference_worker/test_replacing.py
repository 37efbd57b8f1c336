"""When an engine's process is replaced before its time: real processes, really stuck."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from client_sdk.wire.failures import FailureType
from inference_worker.child import CANCEL_GRACE_S
from inference_worker.engines.engine import Failed, Finished, Job, Started
from tests.inference_worker.events import end_of
from tests.inference_worker.test_process import Spawn, handler, spawn
from tests.waiting import LATE_S, hold_for, wait_until

__all__ = ["spawn"]


def payload_files(pid: object) -> list[str]:
    """Return the files of payloads that this process has open."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(path))
    return [link for link in found if "penstock-payload" in link]


async def test_an_engine_without_a_sign_of_life_is_killed_and_comes_back(spawn: Spawn) -> None:
    engine = await spawn(handler("misbehave"), capacity=2, silence_s=1.0)
    first = engine.pid
    jobs = [asyncio.create_task(end_of(engine, data)) for data in (b"sleep 600", b"stop")]
    failed = Failed(
        "EngineDied", "the engine's process gave no sign of life for 1 s and was killed"
    )
    assert await asyncio.gather(*jobs) == [failed] * 2
    await wait_until(lambda: engine.capacity, "the engine is back")
    assert engine.pid != first
    assert await end_of(engine, b"x") == Finished(b"x")


async def test_a_long_call_that_lets_others_run_is_a_sign_of_life(spawn: Spawn) -> None:
    engine = await spawn(handler("misbehave"), capacity=1, silence_s=1.0)
    assert await end_of(engine, b"sleep 2.5") == Finished(b"sleep 2.5")


async def test_a_cancelled_job_that_does_not_stop_costs_the_process_and_no_attempt(
    spawn: Spawn,
) -> None:
    engine = await spawn(handler("misbehave"), capacity=2)
    neighbour = asyncio.create_task(end_of(engine, b"sleep 600"))
    stuck = engine.run(Job("r", b"sleep 600"))
    assert await anext(stuck) == Started()
    began_at = time.monotonic()
    await stuck.aclose()
    disturbed = Failed("Shutdown", "the engine was replaced, because a cancelled job did not stop")
    assert await neighbour == disturbed
    assert 4 < time.monotonic() - began_at < 5 + LATE_S
    await wait_until(lambda: engine.capacity, "the engine is back")
    assert await end_of(engine, b"x") == Finished(b"x")


async def test_a_cancelled_job_that_stops_disturbs_nobody(spawn: Spawn) -> None:
    engine = await spawn(handler("WaitsUntilCancelled"), capacity=2)
    first = engine.pid
    events = engine.run(Job("r", b""))
    await anext(events)
    await events.aclose()
    neighbour = engine.run(Job("r", b""))
    await anext(neighbour)
    await hold_for(CANCEL_GRACE_S + 0.5, lambda: engine.pid == first, "it is the same process")
    await neighbour.aclose()


async def test_a_lost_device_costs_the_process_and_only_the_job_that_met_it(spawn: Spawn) -> None:
    engine = await spawn(handler("LosesDevice"), capacity=3)
    first = engine.pid
    neighbour = asyncio.create_task(end_of(engine, b"600"))
    assert await end_of(engine, b"0") == Finished(b"0")
    sentence = "RuntimeError: CUDA error: an illegal memory access was encountered"
    lost = Failed("EngineDied", sentence, type=FailureType.GPU_LOST)
    assert await end_of(engine, b"lose") == lost
    assert await neighbour == Failed("Shutdown", f"the engine was replaced: {sentence}")
    await wait_until(lambda: engine.capacity, "the engine is back")
    assert engine.pid != first


async def test_too_little_memory_is_the_failure_of_one_job(spawn: Spawn) -> None:
    engine = await spawn(handler("misbehave"))
    assert await end_of(engine, b"allocate") == Failed("MemoryError", "MemoryError")
    assert await end_of(engine, b"x") == Finished(b"x")


async def test_it_tells_what_its_process_takes(spawn: Spawn) -> None:
    engine = await spawn(handler("obey"))
    await wait_until(lambda: engine.resource_usage().memory_bytes > 1_000_000, "a pulse has come")


@pytest.mark.parametrize("size", [1024 * 1024 - 1, 1024 * 1024, 50_000_001])
async def test_payloads_of_any_size_cross_both_ways_and_leave_no_file(
    spawn: Spawn, size: int
) -> None:
    engine = await spawn(handler("obey"))
    payloads = [letter * size for letter in (b"a", b"b", b"c")]
    ends = await asyncio.gather(*(end_of(engine, payload) for payload in payloads))
    assert ends == [Finished(payload) for payload in payloads]
    assert payload_files("self") == payload_files(engine.pid) == []
