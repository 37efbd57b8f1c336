"""The fair line and the limits, as clients and operators meet them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from client_sdk.errors import QuotaExceeded
from client_sdk.wire import names
from tests.conftest import Serve, StartService, StartWorker
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

#: How long each job of the worker takes, in seconds.
RUN_S = 0.02


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def _token(session: aiohttp.ClientSession, url: str, **limits: float) -> str:
    wish = {"scopes": ["submit", "read", "cancel"], "limits": limits}
    headers = {"Authorization": ADMIN_TOKEN}
    async with session.post(f"{url}/v1/tokens", json=wish, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        made: dict[str, Any] = await answer.json()
        assert made["limits"] == limits
        return str(made["token"])


async def test_ten_jobs_beside_a_thousand_of_another_token_take_as_long_as_twenty(
    start_service: StartService, start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    service = await start_service()
    many, few = await _token(session, service.url), await _token(session, service.url)
    async with (
        AsyncQueueClient(service.url, "svc", token=many) as crowd,
        AsyncQueueClient(service.url, "svc", token=few) as person,
        # A token sees its own results only; the service's own sees those of both.
        AsyncQueueClient(service.url, "svc", token=TOKEN) as everybody,
    ):
        await asyncio.gather(*(crowd.put(b"many") for _ in range(1000)))
        receipts = [await person.put(b"few") for _ in range(10)]
        await start_worker(service.url, window=1, engine_options={"delay_s": RUN_S})

        wanted = {receipt.request_id for receipt in receipts}
        done = 0
        async with everybody.sink.watch(auto_commit=True) as frames:
            async for frame in frames:
                done += 1
                wanted.discard(frame.tags[names.REQUEST_ID_TAG])
                if not wanted:
                    break
    # Window 1 and one more that is on its way; a slow machine measures some of them longer.
    assert 10 <= done <= 30
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        await client.truncate(2**53)
        await client.sink.truncate(2**53)

        async def is_empty() -> bool:
            await client.sink.truncate(2**53)
            return await client.count() == 0

        await wait_until(is_empty, "nothing is left")


async def test_a_killed_worker_loses_nothing_of_any_token(
    start_service: StartService, start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    service = await start_service(lease_ms=1000)
    tokens = [await _token(session, service.url, running=3) for _ in range(2)]
    doomed = await start_worker(service.url, window=8, engine_options={"delay_s": 0.2})
    wanted = set()
    for token in (*tokens, TOKEN):
        async with AsyncQueueClient(service.url, "svc", token=token) as client:
            receipts = await asyncio.gather(*(client.put(b"x") for _ in range(15)))
            wanted |= {receipt.request_id for receipt in receipts}
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:

        async def have_some_results() -> bool:
            return await client.sink.count() > 0

        await wait_until(have_some_results, "the worker works")
        doomed.kill()
        await start_worker(service.url, window=8)
        results: list[str] = []

        async def are_all_there() -> bool:
            frames = await client.sink.get(length=100)
            results.extend(frame.tags[names.REQUEST_ID_TAG] for frame in frames)
            return len(results) >= len(wanted)

        await wait_until(are_all_there, "every job was answered")
    assert sorted(results) == sorted(wanted)


async def test_every_api_says_which_limit_is_reached(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    url = await serve()
    token = await _token(session, url, in_line=1)
    headers = {"Authorization": f"Bearer {token}"}
    jobs, eas = f"{url}/v1/services/svc/jobs", f"{url}/api/predict/svc"
    async with session.post(jobs, data=b"x", headers=headers) as answer:
        assert answer.status == 202
    async with session.post(jobs, data=b"x", headers=headers) as answer:
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1
        problem = await answer.json()
        assert problem["code"] == "QUOTA_EXCEEDED"
        assert (problem["quota"], problem["limit"], problem["count"]) == ("in_line", 1, 1)
        assert "1 waiting entries (limit: 1)" in problem["detail"]
    async with session.post(eas, data=b"x", headers=headers) as answer:
        assert answer.status == 429
        assert answer.headers[names.ERROR_CODE_HEADER] == "QUOTA_EXCEEDED"
        # EAS' own client would obey it with 36 requests for one.
        assert "Retry-After" not in answer.headers
    chat = {"model": "svc", "messages": [{"role": "user", "content": "x"}]}
    async with session.post(f"{url}/v1/chat/completions", json=chat, headers=headers) as answer:
        assert answer.status == 429
        assert (await answer.json())["error"]["code"] == "rate_limit_exceeded"
    lines = b'{"input": "x"}\n{"input": "y"}\n'
    ndjson = {"Content-Type": "application/x-ndjson"}
    async with session.post(jobs, data=lines, headers=headers | ndjson) as answer:
        assert (await answer.text()).count('"quota": "in_line"') == 2
    async with AsyncQueueClient(url, "svc", token=token) as client:
        with pytest.raises(QuotaExceeded, match=r"limit: 1"):
            await client.put(b"x")
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        await client.put(b"the service's own has no limits")
        await client.truncate(2**53)


async def test_a_repeated_put_is_not_counted_against_the_rate(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    url = await serve()
    token = await _token(session, url, rate_per_s=0.01)
    headers = {"Authorization": token, names.IDEMPOTENCY_HEADER: "one"}
    indexes = []
    for _ in range(3):
        async with session.post(f"{url}/api/predict/svc", data=b"x", headers=headers) as answer:
            assert answer.status == 200
            indexes.append(await answer.text())
    assert len(set(indexes)) == 1
    headers[names.IDEMPOTENCY_HEADER] = "two"
    async with session.post(f"{url}/api/predict/svc", data=b"x", headers=headers) as answer:
        assert answer.status == 429
        assert "may put 0.01 jobs a second" in await answer.text()
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        await client.truncate(2**53)


@pytest.mark.parametrize(
    "limits",
    [{"running": 0}, {"in_line": "many"}, {"jobs": 3}, {"burst": 2}, {"rate_per_s": -1}, 7],
)
async def test_limits_that_mean_nothing_make_no_token(
    serve: Serve, session: aiohttp.ClientSession, limits: object
) -> None:
    url = await serve()
    headers = {"Authorization": ADMIN_TOKEN}
    wish = {"scopes": ["submit"], "limits": limits}
    async with session.post(f"{url}/v1/tokens", json=wish, headers=headers) as answer:
        assert answer.status == 400
        assert "limits" in await answer.text()
    async with session.get(f"{url}/v1/tokens", headers=headers) as answer:
        assert (await answer.json())["tokens"] == []
