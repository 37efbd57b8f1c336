"""What a handler may look like beside a plain predict: batches, generators, wraps, health."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from client_sdk.wire.failures import FailureType
from inference_worker.engines.engine import (
    Context,
    Delta,
    EngineState,
    Event,
    Failed,
    Finished,
    Job,
    Started,
)
from inference_worker.engines.handler import HandlerEngine
from tests.inference_worker import handlers
from tests.inference_worker.events import events_of
from tests.waiting import wait_until

Start = Callable[..., Awaitable[HandlerEngine]]

HIDDEN = ("HiddenAsync", "HiddenAsyncGenerator", "CalledAsync")


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Load a handler of `handlers.py`, and stop it after the test."""
    loaded: list[HandlerEngine] = []

    async def load(name: str, capacity: int | None = None) -> HandlerEngine:
        module = "process_handlers" if name in HIDDEN else "handlers"
        engine = HandlerEngine(f"tests.inference_worker.{module}:{name}", capacity=capacity)
        loaded.append(engine)
        await engine.start(Context(device="tpu"))
        return engine

    yield load
    for engine in loaded:
        await engine.stop(1.0)


async def ends_of(engine: HandlerEngine, *inputs: bytes) -> list[Event]:
    return [events[-1] for events in await asyncio.gather(*(events_of(engine, i) for i in inputs))]


async def test_jobs_that_are_there_together_are_computed_together(start: Start) -> None:
    engine = await start("Batched")
    assert engine.capacity == 4
    assert await ends_of(engine, b"a", b"b", b"c", b"d") == [
        Finished(b"a 4"),
        Finished(b"b 4"),
        Finished(b"c 4"),
        Finished(b"d 4"),
    ]


async def test_a_batch_waits_for_its_time_and_not_for_ever(start: Start) -> None:
    assert await ends_of(await start("Batched"), b"a", b"b") == [
        Finished(b"a 2"),
        Finished(b"b 2"),
    ]


async def test_nobody_waits_when_nobody_else_can_come(start: Start) -> None:
    engine = await start("Batched", capacity=1)
    assert await ends_of(engine, b"a") == [Finished(b"a 1")]


async def test_one_bad_input_fails_alone_in_its_batch(start: Start) -> None:
    engine = await start("Batched")
    assert await ends_of(engine, b"a", b"bad", b"\xff", b"fails") == [
        Finished(b"a 1"),
        Failed("ValueError", "ValueError: one is bad", type=FailureType.INTERNAL),
        Failed("BadInput", "expected UTF-8 text, got another byte at 0", retryable=False),
        Failed("ValueError", "ValueError: fails", type=FailureType.INTERNAL),
    ]


async def test_a_batch_that_gives_too_few_outputs_fails_its_jobs(start: Start) -> None:
    engine = await start("BatchedTooFew")
    assert engine.capacity == 4
    sentence = "ValueError: predict_batch took 1 inputs and gave 0"
    failed = Failed("ValueError", sentence, type=FailureType.INTERNAL)
    assert await ends_of(engine, b"a", b"b") == [failed] * 2


async def test_what_is_yielded_is_a_delta_each_and_the_whole_is_the_result(start: Start) -> None:
    assert await events_of(await start("Yields"), b"3") == [
        Started(),
        Delta(b"0 "),
        Delta(b"1 "),
        Delta(b"2 "),
        Finished(b"0 1 2 "),
    ]


async def test_yielded_json_becomes_a_list(start: Start) -> None:
    events = await events_of(await start("YieldsJson"), b"2")
    assert events[1:] == [
        Delta(b'{"n": 0}'),
        Delta(b'{"n": 1}'),
        Finished(b'[{"n": 0}, {"n": 1}]'),
    ]


async def test_a_cancelled_generator_is_closed(start: Start) -> None:
    engine = await start("Yields")
    handlers.Yields.closed.clear()
    events = engine.run(Job("r", b"1000000"))
    assert await anext(events) == Started()
    await events.aclose()
    await wait_until(handlers.Yields.closed.is_set, "the generator is closed")


async def test_something_before_and_after_predict_is_called(start: Start) -> None:
    engine = await start("Wrapped")
    assert await ends_of(engine, b"41", b"x") == [
        Finished(b"42 on tpu"),
        Failed("BadInput", "no number", retryable=False),
    ]


async def test_a_handler_that_is_not_well_says_so(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start("Unwell")
    assert (await engine.health()).state is EngineState.OK
    monkeypatch.setenv("UNWELL", str(tmp_path))
    assert (await engine.health()).state is EngineState.DEAD


async def test_a_lost_device_has_a_failure_of_its_own(start: Start) -> None:
    sentence = "RuntimeError: CUDA error: an illegal memory access was encountered"
    failed = Failed("DeviceLost", sentence, type=FailureType.GPU_LOST)
    assert await ends_of(await start("LosesDevice"), b"lose") == [failed]


@pytest.mark.parametrize("capacity", [1, 3])
async def test_what_a_decorator_hides_is_awaited(start: Start, capacity: int) -> None:
    assert await ends_of(await start("HiddenAsync", capacity), b"abc") == [Finished(b"ABC")]
    events = await events_of(await start("HiddenAsyncGenerator", capacity), b"ab")
    assert events[1:] == [Delta(b"a"), Delta(b"b"), Finished(b"ab")]
    events = await events_of(await start("CalledAsync", capacity), b"ab")
    assert events[1:] == [Delta(b"a"), Delta(b"b"), Finished(b"ab")]


@pytest.mark.parametrize("capacity", [1, 3])
async def test_a_hidden_coroutine_is_cancelled_with_its_job(start: Start, capacity: int) -> None:
    engine = await start("HiddenAsync", capacity)
    for _ in range(2):
        events = engine.run(Job("r", b"wait"))
        assert await anext(events) == Started()
        await asyncio.wait_for(events.aclose(), 30)
