"""The native streams of Ollama, llama.cpp and TGI, and streams whose format nobody named."""

import json
from typing import Any, NamedTuple

import pytest

from inference_worker.engines.engine import Delta, Event, Failed, Finished, Job, Started, Usage
from inference_worker.engines.upstream.counts import MOST_TOKENS
from inference_worker.engines.upstream.sse import LineReader
from tests.inference_worker.engines.test_upstream import Open, engine, events_of
from tests.inference_worker.raw_server import RawServer, answer, says

__all__ = ["engine"]  # a fixture

SSE, LINES = "text/event-stream", "application/x-ndjson"


class Sample(NamedTuple):
    """Two pieces of text and the end, as a server sends them; kind: the content type."""

    mode: str
    kind: str
    objects: list[dict[str, Any]]


SAMPLES = [
    Sample(
        "ollama",
        LINES,
        [
            {"model": "m", "message": {"role": "assistant", "content": "Grüß "}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "Gott"}, "done": False},
            {
                "model": "m",
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": "length",
                "prompt_eval_count": 4,
                "eval_count": 2,
            },
        ],
    ),
    Sample(
        "ollama",
        LINES,
        [
            {"model": "m", "response": "Grüß ", "done": False},
            {"model": "m", "response": "Gott", "done": False},
            {
                "response": "",
                "done": True,
                "done_reason": "length",
                "prompt_eval_count": 4,
                "eval_count": 2,
            },
        ],
    ),
    Sample(
        "llama-cpp",
        SSE,
        [
            {"content": "Grüß ", "stop": False, "tokens": [1]},
            {"content": "Gott", "stop": False, "tokens": [2]},
            {
                "content": "",
                "stop": True,
                "stop_type": "limit",
                "tokens_predicted": 2,
                "tokens_evaluated": 4,
            },
        ],
    ),
    Sample(
        "tgi",
        SSE,
        [
            {"token": {"text": "Grüß ", "special": False}, "generated_text": None},
            {
                "token": {"text": "Gott", "special": False},
                "generated_text": "Grüß Gott",
                "details": {"finish_reason": "length", "generated_tokens": 2, "input_length": 4},
            },
        ],
    ),
]


def body(kind: str, *objects: dict[str, Any]) -> bytes:
    start, end = ("data:", "\n\n") if kind == SSE else ("", "\n")
    return "".join(f"{start}{json.dumps(one, ensure_ascii=False)}{end}" for one in objects).encode()


async def all_of(
    server: RawServer, open_engine: Open, kind: str, data: bytes, *, path: str = "", **options: str
) -> list[Event]:
    server.behave = says(answer(data, kind=kind))
    return await events_of(await open_engine(**options), Job("r", b"{}", path=path))


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "detected"])
@pytest.mark.parametrize("sample", SAMPLES)
async def test_the_text_comes_in_pieces_and_as_a_whole(
    server: RawServer,
    engine: Open,
    sample: Sample,
    is_named: bool,
) -> None:
    options = {"mode": sample.mode} if is_named else {}
    assert await all_of(
        server, engine, sample.kind, body(sample.kind, *sample.objects), **options
    ) == [
        Started(),
        Delta("Grüß ".encode(), tokens=1),
        Delta(b"Gott", tokens=1),
        Usage(4, 2),
        Finished("Grüß Gott".encode(), reason="length"),
    ]


@pytest.mark.parametrize("sample", SAMPLES)
async def test_a_stream_that_just_ends_has_broken_off(
    server: RawServer, engine: Open, sample: Sample
) -> None:
    end = (await all_of(server, engine, sample.kind, body(sample.kind, *sample.objects[:-1])))[-1]
    assert end == Failed("UpstreamDown", "the server's stream broke off before its end")


@pytest.mark.parametrize("sample", SAMPLES)
async def test_an_error_in_a_stream_is_an_error(
    server: RawServer, engine: Open, sample: Sample
) -> None:
    error = {"error": "out of memory"}
    end = (await all_of(server, engine, sample.kind, body(sample.kind, sample.objects[0], error)))[
        -1
    ]
    assert isinstance(end, Failed)
    assert (end.code, end.message, end.retryable) == ("UpstreamError", "out of memory", True)


async def test_tgi_refuses_an_input_inside_the_stream(server: RawServer, engine: Open) -> None:
    error = {"error": "`inputs` must have less than 10 tokens", "error_type": "validation"}
    end = (await all_of(server, engine, SSE, body(SSE, error), mode="tgi"))[-1]
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("422", False)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("wrong", [{"odd": 1}, {"token": "x", "content": 3, "done": "x"}])
async def test_another_object_is_garbage(
    server: RawServer,
    engine: Open,
    sample: Sample,
    wrong: dict[str, Any],
) -> None:
    end = (
        await all_of(
            server,
            engine,
            sample.kind,
            body(sample.kind, sample.objects[0], wrong),
            mode=sample.mode,
        )
    )[-1]
    # Ollama's last object may lack all but `done`.
    assert isinstance(end, Failed) or (sample.mode == "ollama" and "done" in wrong)


@pytest.mark.parametrize("count", [float("inf"), float("nan"), "x", [1]])
async def test_a_count_that_is_no_number_is_garbage(
    server: RawServer, engine: Open, count: object
) -> None:
    last = {"response": "", "done": True, "eval_count": count}
    end = (await all_of(server, engine, LINES, body(LINES, last), mode="ollama"))[-1]
    assert isinstance(end, Failed)
    assert end.code == "UpstreamGarbage"


async def test_a_count_has_64_bits(server: RawServer, engine: Open) -> None:
    last = {"response": "", "done": True, "prompt_eval_count": -1, "eval_count": 10**400}
    events = await all_of(server, engine, LINES, body(LINES, last), mode="ollama")
    assert Usage(0, MOST_TOKENS) in events


async def test_a_special_token_is_no_text_of_tgi(server: RawServer, engine: Open) -> None:
    objects: list[dict[str, Any]] = [
        {"token": {"text": "a", "special": False}, "generated_text": None},
        {"token": {"text": "</s>", "special": True}, "generated_text": "a", "details": None},
    ]
    events = await all_of(server, engine, SSE, body(SSE, *objects))
    assert events == [Started(), Delta(b"a", tokens=1), Finished(b"a", reason="stop")]


async def test_a_call_of_a_tool_makes_the_whole_response_the_result(
    server: RawServer, engine: Open
) -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Ulm"}}}
    objects: list[dict[str, Any]] = [
        {"message": {"role": "assistant", "content": "", "thinking": "Hm"}, "done": False},
        {"message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True},
    ]
    end = (await all_of(server, engine, LINES, body(LINES, *objects)))[-1]
    assert isinstance(end, Finished)
    assert json.loads(end.output) == {
        "model": "m",
        "message": {"role": "assistant", "content": "", "thinking": "Hm", "tool_calls": [call]},
        "done": True,
    }


async def test_a_vllm_stream_on_another_path_is_detected(server: RawServer, engine: Open) -> None:
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    data = body(SSE, *chunks) + b"data: [DONE]\n\n"
    events = await all_of(server, engine, SSE, data, path="llm/chat")
    assert events[1:] == [Delta(b"hi", tokens=1), Finished(b"hi", reason="stop")]


@pytest.mark.parametrize("kind", [SSE, LINES])
@pytest.mark.parametrize(
    "data",
    [
        b'event: tick\ndata: {"progress": 1}\n\n: comment\n\ndata: 2\n\n',
        b'{"progress": 1}\n\n{"progress": 2}\n',
        b"data: text\r\n\r\nno end",
        b"\n\n\n",
        b"",
    ],
)
async def test_a_stream_of_no_known_format_is_the_result_unchanged(
    server: RawServer, engine: Open, kind: str, data: bytes
) -> None:
    assert await all_of(server, engine, kind, data) == [Started(), Finished(data)]


async def test_raw_is_raw(server: RawServer, engine: Open) -> None:
    kind = SAMPLES[0].kind
    data = body(kind, *SAMPLES[0].objects)
    assert await all_of(server, engine, kind, data, mode="raw") == [Started(), Finished(data)]


async def test_a_response_in_one_piece_is_the_result(server: RawServer, engine: Open) -> None:
    data = b'{"model": "m", "response": "whole", "done": true}'
    for mode in ("auto", "ollama", "llama-cpp", "tgi"):
        events = await all_of(server, engine, "application/json", data, mode=mode)
        assert events == [Started(), Finished(data)]


def test_lines_arrive_in_any_pieces() -> None:
    data = "eins\r\n\n zwei€\n\ndrei".encode()
    for cut in range(len(data) + 1):
        reader = LineReader()
        read = [*reader.feed(data[:cut]), *reader.feed(data[cut:]), *reader.end()]
        assert read == [b"eins", "zwei€".encode(), b"drei"]
