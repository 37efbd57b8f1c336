"""The echo engine, and the texts that name engines."""

import asyncio
import json

import pytest
from pydantic import ValidationError

from inference_worker.engines.echo import EchoEngine, EchoOptions
from inference_worker.engines.engine import Delta, Event, Failed, Finished, Job, Started
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.errors import BadEngine


def echo(**options: object) -> EchoEngine:
    return EchoEngine(EchoOptions.model_validate(options), capacity=4)


async def events_of(engine: EchoEngine, job: Job) -> list[Event]:
    return [event async for event in engine.run(job)]


def test_an_echo_answers_at_once_with_its_input() -> None:
    assert echo().run_now(Job("r", b"hello")) == Finished(b"hello")


def test_an_echo_can_answer_a_fixed_text() -> None:
    assert echo(answer='[{"a":1}]').run_now(Job("r", b"hello")) == Finished(b'[{"a":1}]')
    assert echo(answer="").run_now(Job("r", b"hello")) == Finished(b"")


async def test_an_echo_with_a_delay_takes_that_long() -> None:
    engine = echo(delay_s=[0.05, 0.1])
    loop = asyncio.get_running_loop()
    assert engine.run_now(Job("r", b"x")) is None
    began_at = loop.time()
    assert await events_of(engine, Job("r", b"x")) == [Started(), Finished(b"x")]
    assert loop.time() - began_at >= 0.05


async def test_the_pieces_of_a_stream_are_the_output() -> None:
    events = await events_of(echo(stream=True, piece_bytes=3), Job("r", b"abcdefgh"))
    assert [event.data for event in events if isinstance(event, Delta)] == [b"abc", b"def", b"gh"]
    assert events[-1] == Finished(b"abcdefgh")


CHAT, TEXT = "v1/chat/completions", "v1/completions"
USER = {"role": "user", "content": "two words"}


@pytest.mark.parametrize(
    ("path", "asked", "answer"),
    [
        (CHAT, {"messages": [USER]}, "two words"),
        (CHAT, {"messages": [USER, {"role": "assistant", "content": "so"}]}, "two words"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}, "a"),
        (TEXT, {"prompt": "a prompt"}, "a prompt"),
        (TEXT, {"prompt": ["one", "two"]}, "one\ntwo"),
        # What holds no question, and every plain job, comes back as it went.
        (CHAT, {"messages": [{"role": "user", "content": ""}]}, None),
        (CHAT, ["messages"], None),
        ("", {"messages": [USER], "stream": True}, None),
        ("v1/embeddings", {"prompt": "x"}, None),
    ],
)
def test_an_echo_answers_openai_clients_with_their_question(
    path: str, asked: object, answer: str | None
) -> None:
    data = json.dumps(asked).encode()
    output = data if answer is None else answer.encode()
    assert echo().run_now(Job("r", data, path=path)) == Finished(output)


async def test_an_echo_of_a_chat_comes_word_by_word_when_streamed() -> None:
    data = json.dumps({"messages": [{"role": "user", "content": " a bc\nd "}], "stream": True})
    job = Job("r", data.encode(), path=CHAT)
    assert echo().run_now(job) is None
    events = await events_of(echo(), job)
    assert [event.data for event in events if isinstance(event, Delta)] == [b" a", b" bc", b"\nd "]
    assert events[-1] == Finished(b" a bc\nd ")


def test_every_third_job_fails_when_told_so() -> None:
    engine = echo(fail_every=3, fail_code="503")
    ends = [engine.run_now(Job("r", b"")) for _ in range(6)]
    assert [isinstance(end, Failed) for end in ends] == [False, False, True, False, False, True]
    assert isinstance(ends[2], Failed)
    assert (ends[2].code, ends[2].retryable) == ("503", True)


def test_the_first_attempts_of_each_job_fail_when_told_so() -> None:
    engine = echo(fail_first_attempts=2)
    assert isinstance(engine.run_now(Job("r", b"", attempt=2)), Failed)
    assert isinstance(engine.run_now(Job("r", b"", attempt=3)), Finished)


@pytest.mark.parametrize("options", [{"delay_s": [2, 1]}, {"delay_s": -1}, {"colour": "red"}])
def test_an_echo_refuses_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EchoOptions.model_validate(options)


def test_an_engine_is_named_by_a_text() -> None:
    assert load_engine(EngineSpec("echo", capacity=7)).capacity == 7
    assert load_engine(EngineSpec("echo")).capacity == 5
    handler = load_engine(EngineSpec("handler:package.module:Class", capacity=2))
    assert (handler.name, handler.capacity) == ("handler:package.module:Class", 2)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (EngineSpec("telepathy"), "an engine echo, handler:module:Class, .*, got telepathy"),
        (EngineSpec("echo", {"colour": 1}), "options that echo knows, got colour"),
        (EngineSpec("handler:m:C", {"colour": 1}), "a handler without options, got colour"),
        (EngineSpec("echo", capacity=-1), "a capacity of at least 1, got -1"),
    ],
)
def test_a_text_that_names_no_engine_is_refused_with_a_reason(
    spec: EngineSpec, expected: str
) -> None:
    with pytest.raises(BadEngine, match=expected):
        load_engine(spec)
