"""Tokens with scopes: who may do what, at once on every replica, and not a moment longer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from client_sdk.errors import Forbidden, Unauthorized
from queue_service.service.access import Scope, Token, WantedToken
from tests.conftest import StartService
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until

ADMIN = {"Authorization": ADMIN_TOKEN, "Accept": "application/json"}


@pytest.fixture
async def operator() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=ADMIN) as session:
        yield session


async def _make(
    operator: aiohttp.ClientSession, service: QueueServiceProcess, *scopes: str, **more: Any
) -> Any:
    wish = {"name": "a test's", "scopes": scopes, **more}
    async with operator.post(f"{service.url}/v1/tokens", json=wish) as answer:
        assert answer.status == 201, await answer.text()
        return await answer.json()


async def _revoke(operator: aiohttp.ClientSession, service: QueueServiceProcess, made: Any) -> int:
    async with operator.delete(f"{service.url}/v1/tokens/{made['id']}") as answer:
        return answer.status


def test_a_token_tells_only_who_has_its_whole_text() -> None:
    token, text = Token.make(WantedToken(scopes=frozenset({Scope.READ})), now_ms=1000)
    assert token.is_text(text)
    assert not token.is_text(text[:-1])
    assert text.split("_", 2)[2] not in token.model_dump_json()


def test_a_token_is_over_at_the_end_of_its_time() -> None:
    wanted = WantedToken(scopes=frozenset({Scope.READ}), expires_in_s=2)
    token, _ = Token.make(wanted, now_ms=1000)
    assert not token.is_over(2999)
    assert token.is_over(3000)


async def test_a_submitter_submits_and_does_nothing_else(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    service = await start_service()
    made = await _make(operator, service, "submit", owner="team")

    async with AsyncQueueClient(service.url, "svc", token=made["token"]) as client:
        receipt = await client.put(b"a question")
        assert await client.count() == 1
        with pytest.raises(Forbidden, match="scope work"):
            await client.get()
        with pytest.raises(Forbidden, match="scope read"):
            await client.sink.get()
        with pytest.raises(Forbidden, match="scope cancel"):
            await client.delete(receipt.index)
    canceler = await _make(operator, service, "cancel", owner="team")
    async with AsyncQueueClient(service.url, "svc", token=canceler["token"]) as client:
        await client.delete(receipt.index)
        assert await client.count() == 0


async def test_a_worker_token_works_and_puts_nothing(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    service = await start_service()
    made = await _make(operator, service, "work", services=["svc"])
    headers = {"Authorization": f"Bearer {made['token']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.ws_connect(f"{service.url}/v1/services/svc/work"):
            pass
        async with session.post(f"{service.url}/api/predict/svc", data=b"x") as answer:
            assert answer.status == 403
            assert "scope submit" in await answer.text()


async def test_a_token_for_one_service_opens_no_other(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    service = await start_service({"name": "svc"}, {"name": "other"})
    made = await _make(operator, service, "submit", services=["other"])
    async with AsyncQueueClient(service.url, "svc", token=made["token"]) as client:
        with pytest.raises(Forbidden):
            await client.put(b"x")
    async with AsyncQueueClient(service.url, "nowhere", token=made["token"]) as client:
        with pytest.raises(Exception, match="there is no service"):
            await client.put(b"x")


async def test_a_token_holds_at_once_on_every_replica_and_ends_there_too(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    first, second = await start_service(), await start_service()
    made = await _make(operator, first, "read", services=["*"])

    async def admitted() -> bool:
        headers = {"Authorization": made["token"]}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{second.url}/api/predict/svc/sink") as answer,
        ):
            return answer.status == 204

    await wait_until(admitted, "the other replica knows the token")
    async with (
        AsyncQueueClient(second.url, "svc", token=made["token"]) as client,
        client.sink.watch() as frames,
    ):
        reading = asyncio.ensure_future(anext(frames))

        async def has_subscribed() -> bool:
            async with operator.get(f"{first.url}/v1/services/svc") as answer:
                return bool((await answer.json())["sink"]["subscribers"])

        await wait_until(has_subscribed, "the watch is there")
        assert await _revoke(operator, first, made) == 204
        with pytest.raises(Unauthorized):
            await reading
    assert not await admitted()
    assert await _revoke(operator, first, made) == 404


async def test_a_token_whose_time_is_over_opens_nothing(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    service = await start_service()
    made = await _make(operator, service, "submit", expires_in_s=1)
    async with AsyncQueueClient(service.url, "svc", token=made["token"]) as client:

        async def is_over() -> bool:
            try:
                await client.attributes()
            except Unauthorized:
                return True
            return False

        await wait_until(is_over, "the token has expired")


async def test_an_admin_token_is_for_operators(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    service = await start_service()
    admin = await _make(operator, service, "admin")
    reader = await _make(operator, service, "read")
    for made, status in ((admin, 200), (reader, 403)):
        headers = {"Authorization": made["token"]}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{service.url}/v1/tokens") as answer,
        ):
            assert answer.status == status
            if status == 200:
                listed = (await answer.json())["tokens"]
                assert [token["id"] for token in listed] == [admin["id"], reader["id"]]
                assert "digest" not in str(listed)
    assert made["token"] not in service.log


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": ["read"], "services": ["a/b"]}, "services"),
        ({"scopes": ["read"], "expires_in_s": 0}, "expires_in_s"),
        ({"scopes": ["read"], "color": "red"}, "color"),
        ([], "body"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_answered_with_what_was_expected(
    start_service: StartService, operator: aiohttp.ClientSession, wish: object, named: str
) -> None:
    service = await start_service()
    async with operator.post(f"{service.url}/v1/tokens", json=wish) as answer:
        assert answer.status == 400
        assert named in (await answer.json())["message"]
    async with operator.get(f"{service.url}/v1/tokens") as answer:
        assert (await answer.json())["tokens"] == []


async def test_a_stream_of_events_ends_with_its_token(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    service = await start_service()
    made = await _make(operator, service, "submit", "read", "cancel")
    jobs = f"{service.url}/v1/services/svc/jobs"
    async with aiohttp.ClientSession(headers={"Authorization": made["token"]}) as session:
        async with session.post(jobs, data=b"x") as answer:
            job_id = (await answer.json())["id"]
        async with session.get(f"{jobs}/{job_id}/events") as stream:
            assert await stream.content.readline()
            assert await _revoke(operator, service, made) == 204
            with pytest.raises(aiohttp.ClientPayloadError):
                await stream.content.read()
    headers = {"Authorization": TOKEN}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.delete(f"{jobs}/{job_id}") as answer,
    ):
        assert answer.status == 204


async def test_a_token_does_not_open_the_next_service_of_the_same_name(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    first, second = await start_service(), await start_service()

    async def change(method: str, **more: Any) -> None:
        async with operator.request(method, f"{first.url}/v1/services/new", **more) as answer:
            assert answer.status < 300, await answer.text()

    async def status(url: str, token: str) -> int:
        headers = {"Authorization": token}
        async with operator.get(f"{url}/api/predict/new?_attrs_=true", headers=headers) as answer:
            return answer.status

    early = await _make(operator, first, "read", services=["new"])
    revoked = await _make(operator, first, "read", services=["new"])
    await change("PUT", json={})
    bound = await _make(operator, first, "read", services=["new", "svc"])
    every = await _make(operator, first, "read")

    async def statuses() -> set[int]:
        return {
            await status(url, made["token"])
            for url in (first.url, second.url)
            for made in (early, bound)
        }

    async def opens_both() -> bool:
        return await statuses() == {200}

    await wait_until(opens_both, "both replicas know the token")
    assert await _revoke(operator, second, revoked) == 204
    await change("DELETE")
    await change("PUT", json={})

    async def opens_none() -> bool:
        return await statuses() == {403}

    await wait_until(opens_none, "the token opens the new service on no replica")
    assert await status(first.url, every["token"]) == 200
    assert await status(first.url, revoked["token"]) == 401
    again = await _make(operator, second, "read", services=["new"])
    assert await status(second.url, again["token"]) == 200
    await change("DELETE")


async def test_only_a_limit_that_can_be_raised_is_said_with_how(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    service = await start_service()
    async with operator.post(f"{service.url}/v1/tokens", data=b"x" * 100_000) as answer:
        assert answer.status == 413
        told = (await answer.json())["message"]
    assert told == "expected a body of at most 65536 bytes, got 100000 bytes"
    path, headers = f"{service.url}/api/predict/svc", {"Authorization": TOKEN}
    async with operator.post(path, data=b"x" * 100_000, headers=headers) as answer:
        assert answer.status == 413
        assert "penstock up --max-payload-kb" in (await answer.json())["message"]
