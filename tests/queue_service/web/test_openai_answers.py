"""Requests and answers of the OpenAI API, as plain values."""

import base64
import json
import struct
from typing import Any

import pytest

from queue_service.errors import BadParameter
from queue_service.store.ticket import Event
from queue_service.web.openai.answers import DONE, error_body, whole
from queue_service.web.openai.asked import Asked, Kind, read_asked
from queue_service.web.openai.chunks import Chunks
from queue_service.web.openai.transcript import Diverged

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}
OURS = {
    "text": "one two",
    "finish_reason": "length",
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


def _asked(kind: Kind = Kind.CHAT, **wanted: Any) -> Asked:
    body = {**CHAT, "prompt": "x", "input": "x", **wanted}
    return read_asked(kind, json.dumps(body).encode())


def _piece(text: str, attempt: int) -> Event:
    return Event(1, "delta", attempt, text.encode(), 1)


def _chunks(text: bytes) -> list[Any]:
    assert text.endswith(DONE)
    lines = text.removesuffix(DONE).decode().split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


def test_the_body_goes_to_the_engine_with_the_model_that_it_knows() -> None:
    asked = _asked(model="demo/large", temperature=0.5)
    assert (asked.service, asked.model, asked.path) == ("demo", "demo/large", "v1/chat/completions")
    passed_on = json.loads(asked.data)
    assert (passed_on["model"], passed_on["temperature"]) == ("large", 0.5)
    assert passed_on["stream"] is False


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "the body"),
        (b"[1]", "the body"),
        (b'{"model": "demo", "messages": NaN}', "the body"),
        (b'{"model": "demo", "messages": [1e999]}', "the body"),
        (b"{}", "model"),
        (b'{"model": 7, "messages": [1]}', "model"),
        (b'{"model": "demo"}', "messages"),
        (b'{"model": "demo", "messages": []}', "messages"),
        (b'{"model": "demo", "messages": [1], "stream": "yes"}', "stream"),
        (b'{"model": "demo", "messages": [1], "stream_options": 1}', "stream_options"),
    ],
)
def test_the_error_for_a_broken_request_says_where(body: bytes, named: str) -> None:
    with pytest.raises(BadParameter) as refused:
        read_asked(Kind.CHAT, body)
    assert refused.value.name == named


def test_a_result_of_our_engine_becomes_a_chat_completion() -> None:
    body = whole(_asked(), "r1", 5, json.dumps(OURS).encode())
    assert body["id"] == "chatcmpl-r1"
    assert body["choices"][0]["message"]["content"] == "one two"
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["total_tokens"] == 3


def test_a_result_that_is_openai_s_already_goes_through() -> None:
    made = {"object": "chat.completion", "choices": [{"message": {"tool_calls": [1]}}], "x": 1}
    body = whole(_asked(), "r1", 5, json.dumps(made).encode())
    assert body == {**made, "model": "demo"}


def test_any_other_result_is_the_text() -> None:
    body = whole(_asked(Kind.TEXT), "r1", 5, b"plain \xff")
    assert body["choices"][0]["text"] == "plain �"
    assert body["object"] == "text_completion"


def test_several_choices_stay_several() -> None:
    made = {**OURS, "choices": [{"text": "a"}, {"text": "b", "finish_reason": "length"}]}
    body = whole(_asked(), "r1", 5, json.dumps(made).encode())
    assert [c["message"]["content"] for c in body["choices"]] == ["a", "b"]
    assert [c["finish_reason"] for c in body["choices"]] == ["stop", "length"]


def test_pieces_and_the_end_are_the_whole_text_once() -> None:
    chunks = Chunks(_asked(stream=True, stream_options={"include_usage": True}), "r1", 5)
    sent = chunks.feed(_piece("one", 1)) + chunks.end(json.dumps(OURS).encode())
    found = _chunks(sent)
    deltas = [chunk["choices"][0]["delta"] for chunk in found if chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == "one two"
    assert [delta.get("role") for delta in deltas] == ["assistant", None, None]
    assert found[-2]["choices"][0]["finish_reason"] == "length"
    assert (found[-1]["choices"], found[-1]["usage"]["total_tokens"]) == ([], 3)


def test_a_streamed_text_completion_has_text_where_a_chat_has_a_delta() -> None:
    chunks = Chunks(_asked(Kind.TEXT, stream=True), "r1", 5)
    found = _chunks(chunks.feed(_piece("a", 1)) + chunks.end(b"ab"))
    assert [chunk["choices"][0]["text"] for chunk in found] == ["a", "b", ""]
    assert found[-1]["choices"][0]["finish_reason"] == "stop"


def test_vectors_are_base64_on_request() -> None:
    made = json.dumps({"object": "list", "data": [{"index": 0, "embedding": [0.5, -1.0]}]})
    body = whole(_asked(Kind.EMBEDDINGS, encoding_format="base64"), "r1", 5, made.encode())
    assert struct.unpack("<2f", base64.b64decode(body["data"][0]["embedding"])) == (0.5, -1.0)
    body = whole(_asked(Kind.EMBEDDINGS), "r1", 5, made.encode())
    assert body["data"][0]["embedding"] == [0.5, -1.0]


def test_an_error_has_the_type_that_clients_know() -> None:
    assert error_body(429, "QUEUE_FULL", "full")["error"]["type"] == "rate_limit_error"
    assert error_body(503, "DRAINING", "later")["error"]["type"] == "server_error"


def test_another_attempt_that_gives_the_same_text_goes_on_where_it_was() -> None:
    chunks = Chunks(_asked(stream=True), "r1", 5)
    first = chunks.feed(_piece("one t", 1))
    assert chunks.feed(_piece("one", 2)) == b""
    found = _chunks(first + chunks.feed(_piece(" two", 2)) + chunks.end(b"one two"))
    assert [chunk["choices"][0]["delta"].get("content") for chunk in found] == ["one t", "wo", None]


def test_another_attempt_with_another_text_cannot_go_on() -> None:
    chunks = Chunks(_asked(stream=True), "r1", 5)
    chunks.feed(_piece("one", 1))
    with pytest.raises(Diverged):
        chunks.feed(_piece("two", 2))


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.TEXT])
@pytest.mark.parametrize(
    "strange",
    [
        b'{"choices": ["x"]}',
        b'{"choices": [null, [1]], "object": "x"}',
        b'{"choices": {"a": 1}, "text": 5}',
        b'{"choices": [{"message": 5, "finish_reason": []}]}',
        b'{"text": null, "usage": 7}',
        b"1" * 5000,
        b"[" * 5000,
    ],
)
def test_whatever_an_engine_gives_is_an_answer(kind: Kind, strange: bytes) -> None:
    assert json.dumps(whole(_asked(kind), "r1", 5, strange))
    chunks = Chunks(_asked(kind, stream_options={"include_usage": True}), "r1", 5)
    assert chunks.end(strange, {"prompt_tokens": "many"}).endswith(DONE)


@pytest.mark.parametrize(
    "strange",
    [
        b"no vectors",
        b'{"data": [7]}',
        b'{"object": "list", "data": [7]}',
        b'{"object": "list", "data": [{}]}',
        b'{"object": "list", "data": [{"embedding": null}]}',
        b'{"object": "list", "data": [{"embedding": ["x"]}]}',
        b'{"object": "list", "data": [{"embedding": [1e300]}]}',
    ],
)
def test_embeddings_that_are_none_are_no_answer(strange: bytes) -> None:
    with pytest.raises(ValueError, match="embeddings"):
        whole(_asked(Kind.EMBEDDINGS, encoding_format="base64"), "r1", 5, strange)


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.TEXT])
@pytest.mark.parametrize(
    "made",
    [
        {"object": "cat", "score": 0.9},
        {"object": "chat.completion", "choices": "none"},
        {"object": "chat.completion", "choices": []},
        {"object": "text_completion", "choices": [{"label": "cat"}]},
        {"choices": ["a", "b"]},
        {"choices": [{"label": "a"}]},
        {"choices": []},
        {"text": "hallo", "language": "de"},
        {"text": "hallo", "segments": [{"text": "hallo"}]},
        {"text": "hallo", "choices": ["a"]},
        {"text": 5, "finish_reason": "stop"},
        {"finish_reason": "stop"},
        {"usage": {"prompt_tokens": 1}},
        {"message": {"role": "assistant", "content": "x"}},
    ],
)
def test_a_structured_result_is_the_text_as_it_is(kind: Kind, made: Any) -> None:
    output = json.dumps(made).encode()
    choice = whole(_asked(kind), "r1", 5, output)["choices"][0]
    assert (choice["text"] if kind is Kind.TEXT else choice["message"]["content"]) == json.dumps(
        made
    )
    chunks = Chunks(_asked(kind, stream=True), "r1", 5)
    first = _chunks(chunks.end(output))[0]["choices"][0]
    assert (first["text"] if kind is Kind.TEXT else first["delta"]["content"]) == json.dumps(made)


def test_a_whole_completion_becomes_chunks_for_a_client_that_wants_a_stream() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    made = {
        "id": "chatcmpl-9",
        "object": "chat.completion",
        "created": 3,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, "tool_calls": [call, call]},
                "finish_reason": "tool_calls",
            },
            {"index": 1, "message": {"role": "assistant", "content": "b", "reasoning": "r"}},
        ],
        "usage": {"total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}},
    }
    asked = _asked(stream=True, stream_options={"include_usage": True})
    first, second, end, usage = _chunks(Chunks(asked, "r1", 5).end(json.dumps(made).encode()))
    assert first["id"] == "chatcmpl-9"
    assert first["choices"][0]["delta"]["tool_calls"] == [
        {"index": index, **call} for index in (0, 1)
    ]
    assert second["choices"][0]["delta"] == {"role": "assistant", "content": "b", "reasoning": "r"}
    assert [one["finish_reason"] for one in end["choices"]] == ["tool_calls", "stop"]
    assert usage["usage"] == made["usage"]


def test_the_first_chunk_has_the_role_although_the_answer_is_empty() -> None:
    found = _chunks(Chunks(_asked(stream=True), "r1", 5).end(b""))
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert found[-1]["choices"][0]["finish_reason"] == "stop"
