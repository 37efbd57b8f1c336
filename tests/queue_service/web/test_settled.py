"""What was carried out is not denied when its credential ends before the answer."""

import asyncio
import hashlib
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from queue_service.web.keys import SERVICES
from tests.queue_service.bench import Bench
from tests.waiting import wait_until


@pytest.mark.leaves_entries
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/predict/svc", 200),
        ("POST", "/api/predict/svc/sink", 200),
        ("PUT", "/v1/services/svc/jobs/mine", 202),
    ],
)
async def test_what_is_stored_when_a_credential_ends_is_not_denied(
    bench: Bench, redis_url: str, method: str, path: str, status: int
) -> None:
    await bench.call("PUT", "/v1/services/svc", json={"token": "first"})
    await bench.is_everywhere("first")
    service = bench.apps[0][SERVICES].find("svc")

    async def put() -> int:
        headers = {"Authorization": "first"}
        async with bench.session.request(
            method, bench.urls[0] + path, headers=headers, data=b"x"
        ) as answer:
            await answer.read()
            return answer.status

    async with Redis.from_url(redis_url) as redis:
        await redis.client_pause(4000, all=False)
        putting = asyncio.ensure_future(put())
        # The handler waits for nothing before the store.
        await wait_until(lambda: bench.under_way == 1, "it is under way")
        digest = hashlib.sha256(b"second").hexdigest()
        settings = service.description.settings.model_copy(update={"token_sha256": digest})
        service.change(replace(service.description, settings=settings))
        await redis.client_unpause()
    assert await putting == status
