"""A queue service for bad input, a neighbour who must not notice, and what is stored."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from redis.asyncio import Redis

from client_sdk.wire import names
from tests.leaks import IDLE_KEYS, wait_for_no_leaks
from tests.queue_service.bench import Bench, running_bench
from tests.queue_service.web.raw import RawRequest
from tests.running import TOKEN, QueueServiceProcess, running_service

KEY_PREFIX = "test-bad-input"

#: Seconds a request body may take at this service.
BODY_TIMEOUT_S = 1.0


@pytest.fixture(scope="package")
def hardened_service(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QueueServiceProcess]:
    """Run one queue service for all bad input, as the internet would find it."""
    with running_service(
        tmp_path_factory.mktemp("bad-input") / "service.log",
        redis_url=redis_url,
        key_prefix=KEY_PREFIX,
        services=[
            {"name": "svc"},
            {"name": "worked"},
            {"name": "neighbour"},
            {"name": "small", "input": {"max_length": 2}},
            {"name": "tight", "sink": {"max_payload_size_kb": 1}},
        ],
        body_timeout_s=BODY_TIMEOUT_S,
    ) as service:
        yield service
        wait_for_no_leaks(redis_url, KEY_PREFIX)


@pytest.fixture
def eas(hardened_service: QueueServiceProcess) -> str:
    """Return where the EAS API begins."""
    return f"{hardened_service.url}{names.EAS_PREFIX}"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as opened:
        yield opened


@pytest.fixture
async def neighbour(eas: str) -> AsyncIterator[None]:
    """Wait for an entry of another service all through the test, and get it afterwards."""
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        address = f"{eas}/neighbour"
        poll = asyncio.create_task(_poll(session, address))
        try:
            yield
            async with session.post(address, data=b"for the neighbour") as answer:
                assert answer.status == 200
            assert await asyncio.wait_for(poll, 30) == b"for the neighbour"
        finally:
            poll.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await poll


async def _poll(session: aiohttp.ClientSession, address: str) -> bytes:
    async with session.get(
        address, params={names.TIMEOUT: "30s", names.AUTO_DELETE: "true"}
    ) as answer:
        assert answer.status == 200
        return await answer.read()


@pytest.fixture
async def emptied(eas: str) -> AsyncIterator[None]:
    """Empty the queues after the test, so that a failure does not fail the next one too."""
    yield
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        everything = {names.TRUNCATE: "true", names.INDEX: str(2**62)}
        for service in ("svc", "worked", "small", "tight"):
            for path in (service, f"{service}/{names.SINK}"):
                async with session.delete(f"{eas}/{path}", params=everything) as answer:
                    assert answer.status == 200


class Stored:
    """What is stored of all services but the neighbour's."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def keys(self) -> dict[str, int]:
        """Return every key that an idle service would not keep, and what its streams hold."""
        found: dict[str, int] = {}
        async for key in self._redis.scan_iter(match=f"{KEY_PREFIX}:*", count=1000):
            if "{neighbour}" in key or await self._redis.pttl(key) != -1:
                continue
            is_stream = await self._redis.type(key) == "stream"
            length = await self._redis.xlen(key) if is_stream else 0
            if length or key.partition("}:")[2].partition(":")[2] not in IDLE_KEYS:
                found[key] = length
        return found

    async def gained(self, before: dict[str, int]) -> dict[str, int]:
        """Return the keys that are new or hold more than before; others may have gone by now."""
        now = await self.keys()
        return {key: length for key, length in now.items() if length > before.get(key, -1)}

    async def entries(self) -> int:
        """Return how many entries all those streams have."""
        return sum((await self.keys()).values())


@pytest.fixture
async def stored(redis_url: str) -> AsyncIterator[Stored]:
    redis = Redis.from_url(redis_url, decode_responses=True)
    yield Stored(redis)
    await redis.aclose()


@pytest.fixture
def raw(eas: str) -> RawRequest:
    return RawRequest(eas)


@pytest.fixture
async def bench(redis_url: str, key_prefix: str) -> AsyncIterator[Bench]:
    async with running_bench(redis_url, key_prefix) as running:
        yield running
