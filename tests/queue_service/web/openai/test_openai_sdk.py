"""Alike for the client whether it is OpenAI or a queue: its own SDK, unchanged."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.conftest import StartService, StartWorker
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import hold_for, wait_until

WORDS = "handler:tests.queue_service.web.openai.handlers:Words"


@pytest.fixture
async def clients() -> AsyncIterator[list[openai.AsyncOpenAI]]:
    opened: list[openai.AsyncOpenAI] = []
    yield opened
    for client in opened:
        await client.close()


def _client(
    clients: list[openai.AsyncOpenAI], service: QueueServiceProcess, token: str = TOKEN
) -> openai.AsyncOpenAI:
    client = openai.AsyncOpenAI(
        base_url=f"{service.url}/v1", api_key=token, max_retries=0, timeout=120
    )
    clients.append(client)
    return client


def _says(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def _make_token(service: QueueServiceProcess, **wanted: object) -> Any:
    async with (
        aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session,
        session.post(f"{service.url}/v1/tokens", json=wanted) as answer,
    ):
        return await answer.json()


async def _held(service: QueueServiceProcess) -> tuple[int, int]:
    """How many entries wait or are held, and how many of them are held."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session,
        session.get(f"{service.url}/v1/services/svc") as answer,
    ):
        queue = (await answer.json())["input"]
        return queue["length"], sum(group["held"] for group in queue["groups"])


async def test_chats_whole_and_streamed(
    start_service: StartService, start_worker: StartWorker, clients: list[openai.AsyncOpenAI]
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=WORDS)
    client = _client(clients, service)

    whole = await client.chat.completions.create(model="svc", messages=_says("one two three"))
    assert whole.choices[0].message.content == "one two three"
    assert whole.choices[0].finish_reason == "stop"
    stream = await client.chat.completions.create(
        model="svc", messages=_says("slow one two three"), stream=True
    )
    pieces = [chunk.choices[0].delta.content async for chunk in stream]
    assert "".join(piece or "" for piece in pieces) == "slow one two three"
    assert len([piece for piece in pieces if piece]) > 1, "the text grows"
    text = await client.completions.create(model="svc", prompt="four five")
    assert text.choices[0].text == "four five"


async def test_the_echo_engine_answers_with_the_question(
    start_service: StartService, start_worker: StartWorker, clients: list[openai.AsyncOpenAI]
) -> None:
    service = await start_service()
    await start_worker(service.url, engine="echo")
    client = _client(clients, service)
    whole = await client.chat.completions.create(model="svc", messages=_says("What is a sink?"))
    assert whole.choices[0].message.content == "What is a sink?"
    stream = await client.chat.completions.create(
        model="svc", messages=_says("What is a sink?"), stream=True
    )
    pieces = [chunk.choices[0].delta.content async for chunk in stream]
    assert "".join(piece or "" for piece in pieces) == "What is a sink?"
    assert len([piece for piece in pieces if piece]) > 1, "the text grows"
    text = await client.completions.create(model="svc", prompt="four five")
    assert text.choices[0].text == "four five"
    with pytest.raises(openai.InternalServerError, match="svc makes no embeddings"):
        await client.embeddings.create(model="svc", input="hello")


async def test_nothing_is_kept_of_what_was_answered(
    start_service: StartService, start_worker: StartWorker, clients: list[openai.AsyncOpenAI]
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=WORDS)
    client = _client(clients, service)
    answer = await client.chat.completions.with_raw_response.create(
        model="svc", messages=_says("hello")
    )
    request_id = answer.headers["x-request-id"]
    async with (
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
        session.get(f"{service.url}/v1/services/svc/jobs/{request_id}") as seen,
    ):
        assert seen.status == 404
    assert await _held(service) == (0, 0)


async def test_models_are_the_services_that_the_token_opens(
    start_service: StartService, clients: list[openai.AsyncOpenAI]
) -> None:
    service = await start_service({"name": "svc"}, {"name": "other", "token": "another-token"})
    client = _client(clients, service)
    assert [model.id async for model in client.models.list()] == ["svc"]
    assert (await client.models.retrieve("svc")).id == "svc"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("other")
    stranger, reader = (
        _client(clients, service, token)
        for token in ("wrong", (await _make_token(service, scopes=["read"]))["token"])
    )
    for asking in (stranger.models.list(), stranger.models.retrieve("svc")):
        with pytest.raises(openai.AuthenticationError):
            await asking
    for asking in (reader.models.list(), reader.models.retrieve("svc")):
        with pytest.raises(openai.PermissionDeniedError):
            await asking


async def test_errors_have_the_classes_that_openai_s_have(
    start_service: StartService, start_worker: StartWorker, clients: list[openai.AsyncOpenAI]
) -> None:
    service = await start_service({"name": "svc", "input": {"max_length": 2}})
    client = _client(clients, service)
    with pytest.raises(openai.AuthenticationError):
        await _client(clients, service, "wrong").chat.completions.create(
            model="svc", messages=_says("x")
        )
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="nobody", messages=_says("x"))
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as empty:
        await client.chat.completions.create(model="svc", messages=[])
    assert empty.value.param == "messages"

    # There is no worker yet: two wait, and a third is refused at once.
    waiting = [
        asyncio.create_task(client.chat.completions.create(model="svc", messages=_says(text)))
        for text in ("fail", "bad")
    ]

    async def is_full() -> bool:
        return await _held(service) == (2, 0)

    await wait_until(is_full, "the line is full")
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model="svc", messages=_says("x"))
    await start_worker(service.url, engine=WORDS)
    failed, bad = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(failed, openai.InternalServerError)
    assert "the model is broken" in str(failed)
    assert isinstance(bad, openai.BadRequestError)
    assert "something better" in str(bad)
    assert "Traceback" not in service.log, "an engine's failure is none of the queue service"


async def test_a_request_that_the_engine_refuses_is_no_stream(
    start_service: StartService, start_worker: StartWorker, clients: list[openai.AsyncOpenAI]
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=WORDS)
    client = _client(clients, service)
    await client.chat.completions.create(model="svc", messages=_says("warm"))
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="svc", messages=_says("bad"), stream=True)


async def test_a_waiting_client_sees_its_position_change(
    start_service: StartService, start_worker: StartWorker, clients: list[openai.AsyncOpenAI]
) -> None:
    service = await start_service()
    client = _client(clients, service)
    first = asyncio.create_task(client.chat.completions.create(model="svc", messages=_says("a")))

    async def one_waits() -> bool:
        return await _held(service) == (1, 0)

    await wait_until(one_waits, "the first is in line")
    body = {"model": "svc", "messages": _says("b"), "stream": True}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
        session.post(f"{service.url}/v1/chat/completions", json=body) as answer,
    ):
        assert answer.content_type == "text/event-stream"
        lines = [await answer.content.readline()]
        await start_worker(service.url, engine=WORDS)
        lines += [line async for line in answer.content]
    assert lines[0] == b": queued, position 1\n"
    assert lines[-2] == b"data: [DONE]\n"
    assert (await first).choices[0].message.content == "a"


async def test_a_stream_begins_before_a_slow_engine_says_its_first_word(
    start_service: StartService,
    start_worker: StartWorker,
    clients: list[openai.AsyncOpenAI],
    tmp_path: Path,
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=WORDS)
    # The engine is there, so that the next one never waits.
    warm = _client(clients, service)
    await warm.chat.completions.create(model="svc", messages=_says("warm"))
    speak = tmp_path / "speak"
    body = {"model": "svc", "messages": _says("quiet"), "stream": True, "user": str(speak)}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
        session.post(f"{service.url}/v1/chat/completions", json=body) as answer,
    ):
        # A stream that did not begin was looked at without a pause.
        assert await answer.content.readline() == b": running\n"
        assert not speak.exists()
        speak.touch()
        lines = [line async for line in answer.content if line.strip()]
    assert b'"content": "quiet"' in lines[0]
    assert lines[-1] == b"data: [DONE]\n"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_what_runs(
    start_service: StartService,
    start_worker: StartWorker,
    clients: list[openai.AsyncOpenAI],
    tmp_path: Path,
    stream: bool,
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=WORDS)
    client = _client(clients, service)
    told = tmp_path / "told"
    asking: Any = client.chat.completions.create(
        model="svc", messages=_says("stuck"), stream=stream, user=str(told)
    )
    if stream:
        chunks = await asking
        assert (await anext(aiter(chunks))).choices[0].delta.content == "waiting"
        await chunks.close()
    else:
        task = asyncio.create_task(asking)

        async def runs() -> bool:
            return await _held(service) == (1, 1)

        await wait_until(runs, "the request runs")
        task.cancel()
    await wait_until(told.exists, "the engine was told")
    assert json.loads(told.read_text()) == "cancelled"

    async def is_free() -> bool:
        return await _held(service) == (0, 0)

    await wait_until(is_free, "its slot is free")
    again = await client.chat.completions.create(model="svc", messages=_says("next"))
    assert again.choices[0].message.content == "next"


async def test_a_client_that_leaves_the_line_is_in_it_no_more(
    start_service: StartService, clients: list[openai.AsyncOpenAI]
) -> None:
    service = await start_service()
    client = _client(clients, service)
    task = asyncio.create_task(client.chat.completions.create(model="svc", messages=_says("x")))

    async def waits() -> bool:
        return await _held(service) == (1, 0)

    await wait_until(waits, "it waits")
    task.cancel()

    async def gone() -> bool:
        return await _held(service) == (0, 0)

    await wait_until(gone, "it waits no more")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_token_that_is_revoked_ends_what_it_has_asked_for(
    start_service: StartService, clients: list[openai.AsyncOpenAI], stream: bool
) -> None:
    service = await start_service()
    token = await _make_token(service, scopes=["submit"], limits={"rate_per_s": 0.001})
    client = _client(clients, service, token["token"])

    async def ask() -> None:
        answer: Any = await client.chat.completions.create(
            model="svc", messages=_says("x"), stream=stream
        )
        async for _ in answer:
            pass

    asking = asyncio.create_task(ask())

    async def waits() -> bool:
        return await _held(service) == (1, 0)

    await wait_until(waits, "it waits")
    with pytest.raises(openai.RateLimitError) as limited:
        await ask()
    assert 900 <= int(limited.value.response.headers["Retry-After"]) <= 1000
    async with (
        aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session,
        session.delete(f"{service.url}/v1/tokens/{token['id']}") as answer,
    ):
        assert answer.status == 204

    async def gone() -> bool:
        return await _held(service) == (0, 0)

    await wait_until(gone, "it waits no more")
    await asyncio.wait([asking])
    assert asking.exception() is not None


async def test_a_worker_that_dies_is_no_gap_and_no_repetition(
    start_service: StartService,
    start_worker: StartWorker,
    clients: list[openai.AsyncOpenAI],
    tmp_path: Path,
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=WORDS)
    client = _client(clients, service)
    stream = await client.chat.completions.create(
        model="svc",
        messages=_says("slow one die two"),
        stream=True,
        user=str(tmp_path / "died"),
    )
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == "slow one die two"
    assert (tmp_path / "died").exists()


async def test_a_stream_without_news_is_kept_alive_by_nothing_that_clients_see(
    start_service: StartService, clients: list[openai.AsyncOpenAI]
) -> None:
    service = await start_service()
    client = _client(clients, service)
    task = asyncio.create_task(
        client.chat.completions.create(model="svc", messages=_says("x"), stream=True)
    )
    await wait_until(task.done, "the stream has begun, while the request waits in line")
    stream = await task
    reading = asyncio.ensure_future(anext(aiter(stream)))
    await hold_for(0.3, lambda: not reading.done(), "comments are no chunks")
    reading.cancel()
    await stream.close()
