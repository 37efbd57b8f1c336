"""What a server behind the `http` engine streams, as OpenAI's own client reads it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.openai.stub_server import HEAD, StubServer, chunk
from tests.running import TOKEN

Json = dict[str, Any]
SAYS: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def stub() -> AsyncIterator[StubServer]:
    server = StubServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(
    stub: StubServer, start_service: StartService, start_worker: StartWorker
) -> AsyncIterator[openai.AsyncOpenAI]:
    service = await start_service()
    # Some tests let several jobs fail in a row; a rest of the worker would add attempts.
    await start_worker(
        service.url,
        engine=f"http:{stub.url}",
        engine_options={"mode": "openai-sse"},
        sick_after=0,
    )
    async with openai.AsyncOpenAI(
        base_url=f"{service.url}/v1", api_key=TOKEN, max_retries=0, timeout=120
    ) as opened:
        yield opened


async def streamed(client: openai.AsyncOpenAI, **more: Any) -> list[Json]:
    """Return the chunks of a chat as plain values."""
    stream = await client.chat.completions.create(model="svc", messages=SAYS, stream=True, **more)
    return [one.model_dump(exclude_unset=True) async for one in stream]


def expected(*chunks: Json) -> list[Json]:
    return [{**one, "model": "svc"} for one in chunks]


async def test_tool_calls_reasoning_and_unknown_fields_pass_through_a_stream(
    stub: StubServer, client: openai.AsyncOpenAI
) -> None:
    call = {"index": 0, "id": "call_1", "type": "function"}
    more = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"city"', ': "Köln"}')]
    chunks = [
        chunk({"role": "assistant", "content": ""}, token_ids=None),
        chunk({"reasoning_content": "The user"}),
        chunk({"reasoning_content": " asks for"}),
        chunk({"content": "Let me look."}, logprobs={"content": [{"token": "L", "logprob": -1.5}]}),
        chunk({"tool_calls": [{**call, "function": {"name": "weather", "arguments": ""}}]}),
        *(chunk({"tool_calls": [one]}) for one in more),
        chunk({}, finish_reason="tool_calls", stop_reason=128_008),
        {
            **HEAD,
            "choices": [],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 7,
                "total_tokens": 16,
                "prompt_tokens_details": {"cached_tokens": 8},
            },
        },
    ]
    stub.chunks = [*chunks]
    found = await streamed(client, stream_options={"include_usage": True}, tools=[])
    assert found == expected(*chunks)
    assert stub.received[0]["stream_options"] == {"include_usage": True}
    assert len(stub.received) == 1


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "abort", "new_reason"])
async def test_a_finish_reason_passes_through_and_neighbours_of_text_may_be_joined(
    stub: StubServer, client: openai.AsyncOpenAI, reason: str
) -> None:
    words = [chunk({"content": f" w{number}"}) for number in range(50)]
    stub.chunks = [chunk({"role": "assistant", "content": ""}), *words]
    stub.chunks.append(chunk({"content": ""}, finish_reason=reason))
    found = await streamed(client)
    texts = [one["choices"][0]["delta"]["content"] for one in found]
    assert "".join(texts) == "".join(f" w{number}" for number in range(50))
    assert found[0] == expected(stub.chunks[0])[0]  # type: ignore[arg-type]
    assert [one["choices"][0]["finish_reason"] for one in found] == [None] * (len(found) - 1) + [
        reason
    ]
    assert {one["id"] for one in found} == {HEAD["id"]}


async def test_several_choices_and_a_refusal_pass_through(
    stub: StubServer, client: openai.AsyncOpenAI
) -> None:
    chunks = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"role": "assistant", "content": ""}, index=1),
        chunk({"content": "yes"}),
        chunk({"refusal": "I can"}, index=1),
        chunk({"content": "!"}, logprobs={"content": []}),
        chunk({"refusal": "not"}, index=1),
        chunk({}, index=1, finish_reason="content_filter"),
        chunk({}, finish_reason="stop"),
    ]
    stub.chunks = [*chunks]
    assert await streamed(client, n=2) == expected(*chunks)


async def test_the_first_chunk_has_the_role_although_the_answer_is_empty(
    stub: StubServer, client: openai.AsyncOpenAI
) -> None:
    stub.chunks = [chunk({}, finish_reason="stop")]
    (only,) = await streamed(client)
    assert only["choices"][0]["delta"] == {"role": "assistant"}


async def test_a_streamed_completion_passes_through_with_its_log_probabilities(
    stub: StubServer, client: openai.AsyncOpenAI
) -> None:
    head = {**HEAD, "object": "text_completion"}
    logprobs = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [], "text_offset": [0]}
    choice = {"index": 0, "text": "a", "logprobs": logprobs, "finish_reason": None}
    chunks = [
        {**head, "choices": [choice]},
        {**head, "choices": [{**choice, "index": 1, "text": "b", "finish_reason": "stop"}]},
        {**head, "choices": [{**choice, "text": "", "finish_reason": "length", "logprobs": None}]},
    ]
    stub.chunks = [*chunks]
    stream = await client.completions.create(model="svc", prompt="x", n=2, stream=True)
    assert [one.model_dump(exclude_unset=True) async for one in stream] == expected(*chunks)


async def test_a_whole_answer_passes_through(stub: StubServer, client: openai.AsyncOpenAI) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "reasoning_content": "r", "tool_calls": [call]}
    stub.whole = {
        **HEAD,
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls", "stop_reason": 3}
        ],
        "usage": {"total_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}},
        "kv_transfer_params": {"a": 1},
    }
    found = await client.chat.completions.create(model="svc", messages=SAYS)
    assert found.model_dump(exclude_unset=True) == {**stub.whole, "model": "svc"}


async def test_another_attempt_goes_on_where_the_cut_one_ended(
    stub: StubServer, client: openai.AsyncOpenAI
) -> None:
    call = {"index": 0, "id": "call_1", "type": "function"}
    begin = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hmm"}),
        chunk({"tool_calls": [{**call, "function": {"name": "f", "arguments": "{"}}]}),
    ]
    rest = [
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}),
        chunk({}, finish_reason="tool_calls"),
    ]
    stub.chunks, stub.breaks_off, stub.holds_after = [*begin], True, len(begin)
    stream = await client.chat.completions.create(model="svc", messages=SAYS, stream=True)
    reading = aiter(stream)
    found = [(await anext(reading)).model_dump(exclude_unset=True) for _ in begin]
    # The second attempt has other ids; the client keeps those that it knows.
    again = json.loads(json.dumps([{**one, "id": "chatcmpl-vllm-2"} for one in (*begin, *rest)]))
    again[2]["choices"][0]["delta"]["tool_calls"][0]["id"] = "call_2"
    stub.chunks, stub.breaks_off, stub.holds_after = [*again], False, None
    stub.may_go_on.set()
    found += [one.model_dump(exclude_unset=True) async for one in reading]
    assert found == expected(*begin, *rest)
    assert len(stub.received) == 2
