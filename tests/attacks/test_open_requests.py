"""One token's open requests leave room for everybody else's."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN
from tests.waiting import wait_until

#: Requests that a token may have open at once.
MOST = 4
QUEUE = f"{names.EAS_PREFIX}/svc"
JOBS = names.JOBS_PATH.format(service="svc")


@pytest.fixture
async def session(serve: Serve) -> AsyncIterator[aiohttp.ClientSession]:
    url = await serve({"name": "svc"}, max_requests_per_token=MOST)
    async with aiohttp.ClientSession(url) as session:
        yield session


async def _headers(session: aiohttp.ClientSession) -> dict[str, str]:
    admin = {"Authorization": ADMIN_TOKEN}
    wish = {"scopes": ["submit", "read", "cancel"]}
    async with session.post("/v1/tokens", json=wish, headers=admin) as answer:
        return {"Authorization": (await answer.json())["token"]}


async def test_watches_polls_and_event_streams_of_one_token_are_bounded_together(
    session: aiohttp.ClientSession,
) -> None:
    greedy, modest = await _headers(session), await _headers(session)
    async with session.post(JOBS, data=b"x", headers=greedy) as answer:
        job = f"{JOBS}/{(await answer.json())['id']}"
    watch = await session.ws_connect(f"{QUEUE}/sink?_watch_=true", headers=greedy)
    stream = await session.get(f"{QUEUE}/sink?_watch_=true", headers=greedy)
    events = await session.get(f"{job}/events", headers=greedy)
    sink = f"{QUEUE}/sink?_timeout_=60s"

    async def poll_again_while_refused() -> None:
        refused = True
        while refused:
            async with session.get(sink, headers=greedy) as answer:
                refused = answer.status == 429

    poll = asyncio.create_task(poll_again_while_refused())

    async def is_refused() -> bool:
        async with session.get(f"{QUEUE}?_count_=true", headers=greedy) as answer:
            assert answer.status == 429
            assert answer.headers[names.ERROR_CODE_HEADER] == Code.QUOTA_EXCEEDED
            return "PENSTOCK_MAX_REQUESTS_PER_TOKEN" in await answer.text()

    await wait_until(is_refused, "a fifth request is refused")
    async with session.post(JOBS, data=b"x", headers=greedy) as answer:
        assert answer.status == 429
        assert (await answer.json())["quota"] == "requests"
    async with session.post(JOBS, data=b"x", headers=modest) as answer:
        assert answer.status == 202, "another token notices nothing"
        other = f"{JOBS}/{(await answer.json())['id']}"

    await watch.close()
    poll.cancel()
    for answer in (stream, events):
        answer.close()

    async def is_admitted() -> bool:
        async with session.delete(job, headers=greedy) as answer:
            return answer.status in {204, 404}

    await wait_until(is_admitted, "there is room again")
    await session.delete(other, headers=modest)
