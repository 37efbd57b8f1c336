"""Whatever a user's code does, its job ends, and nobody else's ends with it."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from inference_worker import BadInput
from inference_worker.answers import answer_to
from inference_worker.engines import payload
from inference_worker.engines.engine import (
    Context,
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    Progress,
    Started,
)
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.errors import EngineFailed
from inference_worker.process import EngineProcess
from tests.inference_worker.test_process import Spawn, is_alive, spawn
from tests.inference_worker.test_worker import delivery
from tests.waiting import wait_until

__all__ = ["spawn"]

HOSTILE = "handler:tests.inference_worker.hostile"

Load = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def load() -> AsyncIterator[Load]:
    """Start an engine in this process, and stop it after the test."""
    loaded: list[Engine] = []

    async def start(name: str, capacity: int | None = None) -> Engine:
        engine = load_engine(EngineSpec(f"{HOSTILE}:{name}", {}, capacity))
        await engine.start(Context())
        loaded.append(engine)
        return engine

    yield start
    for engine in loaded:
        await engine.stop(1.0)


async def end_of(engine: Engine, data: bytes) -> Event:
    async with asyncio.timeout(30):
        return [event async for event in engine.run(Job("r", data))][-1]


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        (b"exit", "SystemExit", "SystemExit: no licence"),
        (b"unspeakable", "Unspeakable", "Unspeakable: its text cannot be read"),
        (b"unspeakable input", "BadInput", "its text cannot be read"),
        (b"number", "503", "busy"),
        (b"deep", "RecursionError", ""),
    ],
)
async def test_whatever_is_raised_is_the_end_of_its_job_alone(
    load: Load, said: bytes, code: str, message: str
) -> None:
    engine = await load("sync")
    end = await end_of(engine, said)
    assert isinstance(end, Failed)
    assert end.code == code
    assert end.message.startswith(message)
    assert await end_of(engine, b"x") == Finished(b"x")


@pytest.mark.parametrize("said", [b"exit", b"interrupt", b"cancelled"])
async def test_an_async_predict_that_would_end_its_loop_ends_its_job(
    load: Load, said: bytes
) -> None:
    engine = await load("exits")
    assert isinstance(await end_of(engine, said), Failed)
    assert await end_of(engine, b"x") == Finished(b"x")


async def test_a_predict_that_turns_out_to_be_async_is_awaited(load: Load) -> None:
    engine = await load("hidden")
    assert await end_of(engine, b"text") == Finished(b"TEXT")
    assert isinstance(await end_of(engine, b"exit"), Failed)
    assert await end_of(engine, b"x") == Finished(b"X")


async def test_only_plain_values_leave_the_engine(load: Load) -> None:
    engine = await load("sync")
    end = await end_of(engine, b"own bytes")
    assert isinstance(end, Finished)
    assert type(end.output) is bytes
    assert await end_of(engine, b"array") == Finished(b'{"scores": [1.5, 2.0]}')
    events = [event async for event in engine.run(Job("r", b"own progress"))]
    (progress,) = (event for event in events if isinstance(event, Progress))
    assert (type(progress.fraction), type(progress.note)) == (float, str)


async def test_a_name_with_odd_bytes_can_be_sent_to_the_client(load: Load) -> None:
    end = await end_of(await load("sync"), b"file name")
    assert isinstance(end, Failed)
    said = answer_to(delivery(1, attempt=3), end)
    assert "/models/??" in str(said)


async def test_json_that_is_too_deep_is_a_bad_input() -> None:
    with pytest.raises(BadInput, match="expected JSON"):
        payload.read_json(b"[" * 100_000)


async def test_an_async_generator_that_never_waits_can_be_cancelled(load: Load) -> None:
    engine = await load("NeverWaits", capacity=2)
    endless = engine.run(Job("r", b"go"))
    assert await anext(endless) == Started()
    assert await end_of(engine, b"stop") == Finished(b"")
    async with asyncio.timeout(30):
        await endless.aclose()


async def test_a_result_that_does_not_end_is_cut_off(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "MOST_RESULT_BYTES", 100_000)
    end = await end_of(await load("NeverEnds"), b"go")
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("ResultTooBig", False)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"text", "TypeError: predict_batch gave a str where a list is expected"),
        (b"names", "TypeError: predict_batch gave a dict where a list is expected"),
        (b"nothing", "TypeError: predict_batch gave a NoneType where a list is expected"),
        (b"endless", "ValueError: predict_batch took 1 inputs and gave more"),
        (b"exit", "SystemExit: no licence"),
    ],
)
async def test_a_batch_is_a_list_of_as_many(load: Load, said: bytes, message: str) -> None:
    engine = await load("BatchOf")
    end = await end_of(engine, said)
    assert isinstance(end, Failed)
    assert end.message == message
    assert await end_of(engine, b"x") == Finished(b"x")


async def test_a_setup_that_exits_says_why(spawn: Spawn) -> None:
    with pytest.raises(EngineFailed, match="SystemExit: no licence"):
        await spawn(f"{HOSTILE}:ExitsInSetup")


async def test_garbage_on_stdout_disturbs_nobody(spawn: Spawn) -> None:
    engine = await spawn(f"{HOSTILE}:acts")
    assert await end_of(engine, b"garbage") == Finished(b"garbage")
    assert await end_of(engine, b"x") == Finished(b"x")


async def comes_back(engine: EngineProcess, pid: int | None) -> None:
    await wait_until(lambda: engine.capacity and engine.pid != pid, "another one is ready")
    assert await end_of(engine, b"x") == Finished(b"x")


async def test_an_engine_that_closes_its_files_is_replaced(spawn: Spawn) -> None:
    engine = await spawn(f"{HOSTILE}:acts")
    pid = engine.pid
    end = await end_of(engine, b"close")
    assert isinstance(end, Failed)
    assert end.code == "EngineDied"
    await comes_back(engine, pid)


async def test_a_fork_of_the_engine_keeps_nobody_waiting_and_ends_with_it(spawn: Spawn) -> None:
    engine = await spawn(f"{HOSTILE}:acts")
    pid = engine.pid
    assert pid is not None
    assert await end_of(engine, b"fork") == Finished(b"fork")
    os.kill(pid, 9)
    await comes_back(engine, pid)


async def test_what_a_handler_has_started_ends_with_its_engine(spawn: Spawn) -> None:
    engine = await spawn(f"{HOSTILE}:acts")
    pid = engine.pid
    end = await end_of(engine, b"child")
    assert isinstance(end, Finished)
    child = int(end.output)
    assert is_alive(child)
    assert pid is not None
    os.kill(pid, 9)
    await wait_until(lambda: not is_alive(child), "it has ended")
    await comes_back(engine, pid)
