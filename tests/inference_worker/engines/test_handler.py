"""A user's class as an engine."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from client_sdk.wire.failures import FailureType
from inference_worker.engines import tracebacks
from inference_worker.engines.engine import (
    Context,
    Failed,
    Finished,
    Job,
    Progress,
    Started,
)
from inference_worker.engines.handler import HandlerEngine
from inference_worker.errors import BadEngine, EngineFailed
from tests.inference_worker import handlers
from tests.inference_worker.events import end_of
from tests.waiting import wait_until

Load = Callable[..., Awaitable[HandlerEngine]]


@pytest.fixture
async def load() -> AsyncIterator[Load]:
    """Load a handler of `handlers.py`, and stop it after the test."""
    loaded: list[HandlerEngine] = []

    async def start(name: str, capacity: int | None = None) -> HandlerEngine:
        engine = HandlerEngine(f"tests.inference_worker.handlers:{name}", capacity=capacity)
        loaded.append(engine)
        await engine.start(Context())
        return engine

    yield start
    for engine in loaded:
        await engine.stop(1.0)


async def test_a_parameter_annotated_str_is_given_text(load: Load) -> None:
    engine = await load("Upper")
    assert await end_of(engine, "naïve".encode()) == Finished("NAÏVE!".encode())
    failed = await end_of(engine, b"\xff")
    assert isinstance(failed, Failed)
    assert (failed.code, failed.retryable) == ("BadInput", False)


async def test_a_parameter_annotated_list_is_given_json(load: Load) -> None:
    engine = await load("Sum")
    assert await end_of(engine, b"[1, 2.5]") == Finished(b'{"sum": 3.5}')
    failed = await end_of(engine, b"[1,")
    assert isinstance(failed, Failed)
    assert (failed.code, failed.retryable) == ("BadInput", False)


async def test_a_class_can_say_that_it_takes_json(load: Load) -> None:
    assert await end_of(await load("DeclaredJson"), b"1") == Finished(b"[1]")


async def test_a_parameter_with_a_default_is_left_alone(load: Load) -> None:
    assert await end_of(await load("HasOptions"), b"ab") == Finished(b"cpu abab")


async def test_a_bare_function_is_given_bytes(load: Load) -> None:
    assert await end_of(await load("obey"), b"\xff\x00") == Failed(
        "UnicodeDecodeError",
        "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: "
        "invalid start byte",
        type=FailureType.INTERNAL,
    )
    assert await end_of(await load("obey"), b"abc") == Finished(b"abc")


async def test_returning_none_is_an_empty_output(load: Load) -> None:
    assert await end_of(await load("obey"), b"none") == Finished(b"")


@pytest.mark.parametrize(
    ("order", "failed"),
    [
        (b"bad", Failed("BadInput", "a number is missing", retryable=False)),
        (b"busy", Failed("503", "the device is busy", type=FailureType.TRANSIENT)),
        (b"raise tail", Failed("ValueError", "ValueError: tail", type=FailureType.INTERNAL)),
        (
            b"set",
            Failed(
                "TypeError",
                "TypeError: Object of type set is not JSON serializable",
                type=FailureType.INTERNAL,
            ),
        ),
    ],
)
async def test_what_a_handler_raises_becomes_a_failure(
    load: Load, order: bytes, failed: Failed
) -> None:
    assert await end_of(await load("obey"), order) == failed


async def test_a_handler_gets_facts_about_its_job(load: Load) -> None:
    job = Job("r-1", b"", {"user": "u"}, attempt=3, path="v1/run")
    events = [event async for event in (await load("TellsContext")).run(job)]
    assert events[:2] == [Started(), Progress(0.25, "a quarter")]
    assert isinstance(events[2], Finished)
    told = {"request_id": "r-1", "attempt": 3, "tags": {"user": "u"}, "path": "v1/run"}
    assert json.loads(events[2].output) == told


async def test_as_many_sync_jobs_run_together_as_the_capacity_says(load: Load) -> None:
    engine = await load("ComesTogether", capacity=4)
    ends = await asyncio.gather(*(end_of(engine, b"%d" % n) for n in range(4)))
    assert ends == [Finished(b"%d" % n) for n in range(4)]


async def test_the_class_bounds_the_capacity(load: Load) -> None:
    assert (await load("Sum", 8)).capacity == 1
    assert (await load("Upper", 8)).capacity == 8


async def test_five_at_once_by_default(load: Load) -> None:
    assert (await load("Upper")).capacity == 5
    assert (await load("obey")).capacity == 5
    assert (await load("AsyncSlow")).capacity == 5
    assert (await load("TwoAtOnce")).capacity == 2


async def test_closing_the_iterator_cancels_an_async_handler(load: Load) -> None:
    engine = await load("AsyncSlow")
    before = handlers.AsyncSlow.cancelled
    events = engine.run(Job("r", b"600"))
    assert await anext(events) == Started()
    await events.aclose()
    await wait_until(lambda: handlers.AsyncSlow.cancelled > before, "predict was cancelled")


async def test_closing_the_iterator_tells_a_sync_handler(load: Load) -> None:
    engine = await load("WaitsUntilCancelled")
    events = engine.run(Job("r", b""))
    assert await anext(events) == Started()
    await events.aclose()
    await wait_until(handlers.WaitsUntilCancelled.stopped.is_set, "predict saw it")


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("Nobody", BadEngine, "expected a class or function Nobody"),
        ("TakesThree", BadEngine, r"expected predict\(input\) or predict\(input, ctx\)"),
        ("CannotLoad", EngineFailed, "FileNotFoundError: no weights at /models/none"),
    ],
)
async def test_a_handler_that_cannot_be_used_says_why(
    load: Load, name: str, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        await load(name)


async def test_a_module_that_is_not_there_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BadEngine, match=r"a module nowhere\.to_be_found that can be") as caught:
        await HandlerEngine("nowhere.to_be_found:Class").start(Context())
    assert f"(looked in {Path.cwd()}, in PYTHONPATH" in str(caught.value)
    # The importer's own lines help nobody.
    assert "<frozen" not in str(caught.value) + caplog.text
    assert "Traceback" not in caplog.text


async def test_the_traceback_of_a_handler_is_shown_once(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await load("obey")
    tracebacks._seen.clear()
    for _ in range(3):
        await end_of(engine, b"raise tail")
    await end_of(engine, b"set")
    lines = [record for record in caplog.records if record.name == tracebacks.__name__]
    assert [line.exc_info is not None for line in lines] == [True, True]
