"""Errors of a server behind the `http` engine, as OpenAI's own client reads them."""

import json
from typing import Any

import aiohttp
import openai
import pytest

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.openai.stub_server import StubServer, chunk
from tests.queue_service.web.openai.test_upstream import SAYS, client, streamed, stub
from tests.running import TOKEN

__all__ = ["client", "stub"]  # fixtures

OVERFLOW = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."

REFUSALS: list[tuple[int, type[openai.APIStatusError], dict[str, Any]]] = [
    (
        400,
        openai.BadRequestError,
        {"message": "no such value", "type": "odd_type", "param": "top_p", "code": "odd_code"},
    ),
    (401, openai.AuthenticationError, {"message": "m", "type": "t", "code": "bad_key"}),
    (404, openai.NotFoundError, {"message": "m", "type": "NotFoundError", "code": 404}),
    (422, openai.UnprocessableEntityError, {"message": "x" * 50_000, "param": "p", "code": 1}),
]
#: What is inside a stream, the code of the error, and the number of attempts.
INSIDE: list[tuple[dict[str, Any], object, int]] = [
    ({"error": {"message": "no", "type": "t", "param": "p", "code": 400}}, 400, 1),
    ({"error": {"message": "no", "type": "invalid_request_error", "code": "c"}}, "c", 1),
    ({"object": "error", "message": "no", "type": "t", "param": None, "code": 422}, 422, 1),
    ({"error": {"message": "no", "code": "server_broke"}}, "server_broke", 5),
    (chunk({}, finish_reason="error"), "UpstreamError", 5),
]


async def test_a_4xx_of_the_server_comes_once_and_unchanged(
    stub: StubServer, client: openai.AsyncOpenAI
) -> None:
    for status, kind, error in REFUSALS:
        for stream in (False, True):
            stub.status, stub.whole = status, {"error": error}
            stub.received.clear()
            with pytest.raises(kind) as refused:
                await client.with_options(max_retries=2).chat.completions.create(
                    model="svc", messages=SAYS, stream=stream
                )
            assert isinstance(refused.value.body, dict)
            found = {name: refused.value.body[name] for name in error}
            assert found == {**error, "message": error["message"][:2000]}
            assert refused.value.request_id
            assert len(stub.received) == 1


async def test_a_request_that_does_not_fit_has_openai_s_code(
    stub: StubServer, client: openai.AsyncOpenAI
) -> None:
    stub.status = 400
    stub.whole = {"error": {"message": OVERFLOW, "type": "BadRequestError", "code": 400}}
    asking: list[Any] = [
        client.embeddings.create(model="svc", input="x"),
        client.completions.create(model="svc", prompt="x"),
    ]
    for one in asking:
        with pytest.raises(openai.BadRequestError, match="maximum context length") as refused:
            await one
        assert refused.value.code == "context_length_exceeded"


async def test_an_error_inside_a_stream_is_an_error_for_the_client(
    stub: StubServer, client: openai.AsyncOpenAI
) -> None:
    begun = chunk({"role": "assistant", "content": "a"})
    for event, code, attempts in INSIDE:
        for before in ([], [begun]):
            stub.chunks = [*before, event]
            stub.received.clear()
            with pytest.raises(openai.APIError) as refused:
                await streamed(client)
            assert isinstance(refused.value.body, dict)
            assert refused.value.body["code"] == code
            assert len(stub.received) == attempts


@pytest.mark.parametrize("chunks", [[], [chunk({"role": "assistant"})]])
async def test_a_stream_without_an_answer_is_an_error_and_is_not_asked_for_again(
    stub: StubServer, client: openai.AsyncOpenAI, chunks: list[Any]
) -> None:
    stub.chunks, stub.breaks_off = chunks, bool(chunks)
    with pytest.raises(openai.APIError):
        await streamed(client.with_options(max_retries=2))
    assert len(stub.received) == 5, "the queue has retried it, and the SDK did not do so again"


async def test_a_path_that_does_not_exist_is_answered_in_openai_s_format(
    start_service: StartService,
) -> None:
    service = await start_service()
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=TOKEN) as opened:
        with pytest.raises(openai.NotFoundError, match="/v1/moderations") as refused:
            await opened.moderations.create(input="x")
    assert refused.value.type == "invalid_request_error"
    assert refused.value.request_id


async def test_every_response_has_a_request_id_of_its_own(start_service: StartService) -> None:
    service = await start_service()
    ids = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        for method, path, body in [
            ("GET", "/v1/models", None),
            ("GET", "/v1/models/svc", None),
            ("GET", "/v1/models/other", None),
            ("GET", "/v1/chat/completions", None),
            ("POST", "/v1/chat/completions", "{"),
            ("POST", "/v1/chat/completions", json.dumps({"model": "x", "messages": SAYS})),
            ("POST", "/v1/nothing", "{}"),
            ("PUT", "/v1", None),
        ]:
            url = f"{service.url}{path}"
            async with session.request(method, url, data=body) as answer:
                ids.append(answer.headers["x-request-id"])
                if answer.status >= 400:
                    assert {"message", "type", "param", "code"} <= set(
                        (await answer.json())["error"]
                    )
                    assert answer.status < 500
    assert len(set(ids)) == len(ids)


async def test_a_client_that_leaves_a_stream_ends_it_at_the_server_and_disturbs_no_other(
    start_service: StartService, start_worker: StartWorker, stub: StubServer
) -> None:
    service = await start_service()
    worker = await start_worker(
        service.url, engine=f"http:{stub.url}", engine_options={"mode": "openai-sse"}
    )
    stub.chunks = [chunk({"role": "assistant", "content": "a"}), chunk({}, finish_reason="stop")]
    stub.holds_after = 1
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=TOKEN) as opened:
        asking: Any = {"model": "svc", "messages": SAYS, "stream": True}
        stays = await opened.chat.completions.create(**asking)
        leaves = await opened.chat.completions.create(**asking)
        for stream in (stays, leaves):
            assert (await anext(aiter(stream))).choices[0].delta.content == "a"
        await leaves.close()
        await stub.canceled.wait()
        stub.may_go_on.set()
        assert [one.choices[0].finish_reason async for one in stays] == ["stop"]
    assert len(stub.received) == 2
    assert "started again" not in worker.log
