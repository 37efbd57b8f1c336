"""Streamed answers of a server: what becomes an event, and what becomes the result."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_worker.engines.engine import Delta, Event, Failed, Finished, Job, Started, Usage
from inference_worker.engines.upstream.sse import EventReader, LineTooLong
from tests.inference_worker.engines.test_upstream import Open, end_of, engine, events_of
from tests.inference_worker.raw_server import RawServer, Received, answer, says

__all__ = ["engine"]  # a fixture

STREAM = "text/event-stream"


def chunk(text: str | None = None, **more: object) -> str:
    choice: dict[str, object] = {"index": 0, "delta": {"content": text}, **more}
    return json.dumps({"choices": [choice]})


def body(*events: str, done: bool = True) -> bytes:
    whole = [*events, "[DONE]"] if done else events
    return "".join(f"data: {event}\n\n" for event in whole).encode()


async def all_of(server: RawServer, open_engine: Open, mode: str, data: bytes) -> list[Event]:
    server.behave = says(answer(data, kind=f"{STREAM}; charset=utf-8"))
    return await events_of(await open_engine(mode=mode), Job("r", b"{}"))


async def test_the_text_of_a_chat_comes_in_pieces_and_as_a_whole(
    server: RawServer, engine: Open
) -> None:
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}})
    data = body(
        json.dumps({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}),
        chunk("Grüß "),
        chunk("Gott"),
        chunk(None, finish_reason="length"),
        usage,
    )
    assert await all_of(server, engine, "openai-sse", data) == [
        Started(),
        Delta("Grüß ".encode(), tokens=1),
        Delta(b"Gott", tokens=1),
        Usage(4, 2),
        Finished("Grüß Gott".encode(), reason="length"),
    ]
    assert server.received[0].headers["accept"].startswith(STREAM)


async def test_the_text_of_a_completion_is_read_too(server: RawServer, engine: Open) -> None:
    data = body(json.dumps({"choices": [{"text": "a"}]}), json.dumps({"choices": [{"text": "b"}]}))
    assert (await all_of(server, engine, "openai-sse", data))[-1] == Finished(b"ab")


async def test_a_stream_is_whole_with_its_reason_although_the_last_word_is_missing(
    server: RawServer, engine: Open
) -> None:
    data = body(chunk("a"), chunk("b", finish_reason="stop"), done=False)
    assert (await all_of(server, engine, "openai-sse", data))[-1] == Finished(b"ab", reason="stop")


async def test_usage_below_nothing_is_none(server: RawServer, engine: Open) -> None:
    usage = '{"choices": [], "usage": {"prompt_tokens": -5, "completion_tokens": 2}}'
    events = await all_of(server, engine, "openai-sse", body(chunk("a"), usage, "[DONE]"))
    assert Usage(0, 2) in events


async def test_a_stream_that_just_ends_has_broken_off(server: RawServer, engine: Open) -> None:
    end = (await all_of(server, engine, "openai-sse", body(chunk("a"), done=False)))[-1]
    assert end == Failed("UpstreamDown", "the server's stream broke off before its end")


@pytest.mark.parametrize(
    "data",
    [
        body(),
        body('{"choices": [], "usage": {"prompt_tokens": 1}}'),
        body('{"choices": [], "usage": {"prompt_tokens": 1}}', done=False),
        body(chunk("a", finish_reason="stop"), chunk("b", index=1), done=False),
    ],
)
async def test_a_stream_without_an_answer_is_no_empty_answer(
    server: RawServer, engine: Open, data: bytes
) -> None:
    end = (await all_of(server, engine, "openai-sse", data))[-1]
    assert end == Failed("UpstreamDown", "the server's stream broke off before its end")


async def test_what_follows_the_last_word_is_not_waited_for(
    server: RawServer, engine: Open
) -> None:
    async def lingers(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(body(chunk("a")))
        await asyncio.Event().wait()

    server.behave = lingers
    assert await end_of(await engine(mode="openai-sse")) == Finished(b"a")


@pytest.mark.parametrize(
    ("event", "code", "retryable"),
    [
        ('{"error": {"code": 503, "message": "no memory"}}', "503", True),
        ('{"error": {"code": "context_length", "message": "too long"}}', "UpstreamError", True),
        ('{"error": "no"}', "UpstreamError", True),
        ("not json", "UpstreamGarbage", True),
        ("[1]", "UpstreamGarbage", True),
        ('{"choices": [{"delta": {"content": 7}}]}', "UpstreamGarbage", True),
        ('{"choices": 5}', "UpstreamGarbage", True),
        ('{"choices": [], "usage": {"prompt_tokens": 1e999}}', "UpstreamGarbage", True),
        ('{"choices": [{"index": "first"}]}', "UpstreamGarbage", True),
        ('{"choices": [{"index": -1}]}', "UpstreamGarbage", True),
        ('{"choices": [{"delta": "text"}]}', "UpstreamGarbage", True),
        ('{"error": {"code": 400, "message": "no"}}', "400", False),
        ('{"error": {"type": "invalid_request_error", "code": "x"}}', "400", False),
        ('{"error": {"code": 429, "message": "later"}}', "429", True),
        ('{"object": "error", "message": "no", "code": 422}', "422", False),
        ('{"object": "error", "message": "no", "code": 500}', "500", True),
        ('{"message": "the model is gone", "code": 40301}', "UpstreamError", True),
        ('{"choices": [{"delta": {}, "finish_reason": "error"}]}', "UpstreamError", True),
        (
            '{"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "no"}}]}',
            "502",
            True,
        ),
    ],
)
async def test_an_error_inside_a_stream_fails_the_job(
    server: RawServer, engine: Open, event: str, code: str, retryable: bool
) -> None:
    end = (await all_of(server, engine, "openai-sse", body(chunk("a"), event)))[-1]
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == (code, retryable)


async def test_a_stream_with_more_than_text_has_the_whole_completion_as_its_result(
    server: RawServer, engine: Open
) -> None:
    head = {"id": "c", "created": 1, "model": "m"}

    def piece(delta: dict[str, object], index: int = 0, **more: object) -> str:
        choice = {"index": index, "delta": delta, "finish_reason": None, **more}
        return json.dumps({**head, "object": "chat.completion.chunk", "choices": [choice]})

    def call(index: int, arguments: str, **more: object) -> dict[str, object]:
        function = {"arguments": arguments, **({"name": "f"} if more else {})}
        return {"tool_calls": [{"index": index, **more, "function": function}]}

    data = body(
        piece({"role": "assistant", "content": "Hm"}, logprobs={"content": [1]}),
        piece({"content": "m"}, logprobs={"content": [2]}),
        piece(call(0, "{", id="call_0", type="function")),
        piece(call(0, "}")),
        piece(call(1, "[]", id="call_1", type="function")),
        piece({"role": "assistant", "refusal": "no"}, 1, finish_reason="stop"),
        piece({"refusal": "!"}, 1),
        piece({}, finish_reason="tool_calls"),
        json.dumps({**head, "choices": [], "usage": {"total_tokens": 3}}),
    )
    end = (await all_of(server, engine, "openai-sse", data))[-1]
    assert isinstance(end, Finished)
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "f", "arguments": said}}
        for n, said in enumerate(("{}", "[]"))
    ]
    assert json.loads(end.output) == {
        **head,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hmm", "tool_calls": calls},
                "logprobs": {"content": [1, 2]},
                "finish_reason": "tool_calls",
            },
            {
                "index": 1,
                "message": {"role": "assistant", "refusal": "no!"},
                "finish_reason": "stop",
            },
        ],
        "usage": {"total_tokens": 3},
    }


@pytest.mark.parametrize("options", [{}, {"mode": "openai-sse"}])
async def test_a_streamed_chat_is_read_as_chunks_although_no_mode_is_set(
    server: RawServer, engine: Open, options: dict[str, str]
) -> None:
    server.behave = says(answer(body(chunk("a", finish_reason="stop")), kind=STREAM))
    upstream = await engine(**options)
    end = (await events_of(upstream, Job("r", b"{}", path="v1/chat/completions")))[-1]
    assert end == Finished(b"a", reason="stop")


async def test_a_mode_that_is_set_is_kept(server: RawServer, engine: Open) -> None:
    stream = body(chunk("a", finish_reason="stop"))
    server.behave = says(answer(stream, kind=STREAM))
    upstream = await engine(mode="raw")
    end = (await events_of(upstream, Job("r", b"{}", path="v1/chat/completions")))[-1]
    assert end == Finished(stream)


async def test_any_other_stream_is_joined_from_its_data(server: RawServer, engine: Open) -> None:
    data = b": hello\nid: 1\nevent: token\ndata: one\n\ndata: two\ndata: lines\n\n\n\ndata:three"
    assert await all_of(server, engine, "sse", data) == [
        Started(),
        Delta(b"one"),
        Delta(b"two\nlines"),
        Delta(b"three"),
        Finished(b"onetwo\nlinesthree"),
    ]


@pytest.mark.parametrize("mode", ["sse", "openai-sse"])
async def test_an_answer_that_is_no_stream_is_the_result_itself(
    server: RawServer, engine: Open, mode: str
) -> None:
    server.behave = says(answer(b'{"choices": []}', kind="application/json"))
    assert await end_of(await engine(mode=mode)) == Finished(b'{"choices": []}')


async def test_a_stream_without_end_is_cut_at_its_limit(server: RawServer, engine: Open) -> None:
    server.behave = says(answer(body("x" * 500, "y" * 500, "z" * 500), kind=STREAM))
    end = await end_of(await engine(mode="sse", max_answer_bytes=1000))
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("ResultTooBig", False)


WELL_KNOWN = [
    (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    (b"data: a\r\n\r\ndata:b\r\n\r\n", [b"a", b"b"]),
    (b"data: a\r\rdata:  b\r\r", [b"a", b" b"]),
    (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    (b"data\n\ndata: a\ndata\n\n", [b"", b"a\n"]),
    (b"event: x\n\ndata: a\n\n:\n\n", [b"a"]),
    (b"data: a\r\n\r\ndata: b\r", [b"a", b"b"]),
]


@pytest.mark.parametrize(("stream", "expected"), WELL_KNOWN)
@given(cuts=st.sets(st.integers(0, 40)))
def test_events_are_the_same_however_the_stream_is_cut(
    stream: bytes, expected: list[bytes], cuts: set[int]
) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    reader = EventReader()
    read = [data for start, end in pairwise(edges) for data in reader.feed(stream[start:end])]
    assert [*read, *reader.end()] == expected


def test_a_line_that_does_not_end_is_refused() -> None:
    reader = EventReader()
    for _ in range(16):
        assert list(reader.feed(b"x" * 1024 * 1024)) == []
    with pytest.raises(LineTooLong):
        list(reader.feed(b"x"))
