"""How leases are extended after a time in which nobody could renew them."""

from typing import Any

import pytest
from redis.asyncio import Redis

from tests.conftest import StartService
from tests.promises.conftest import Client, Peers
from tests.waiting import wait_until

LEASE_MS = 30_000


def is_near(extensions_ms: list[int], expected_ms: int) -> bool:
    """Allow for further looks before ours: each sees less of the same lease left."""
    return bool(extensions_ms) and all(
        expected_ms - 5_000 < one <= expected_ms for one in extensions_ms
    )


class Leases:
    """The leases of the input queue, as they are stored."""

    def __init__(self, redis: "Redis", key_prefix: str) -> None:
        self._redis = redis
        self._base = f"{key_prefix}:{{svc}}:input"

    async def now_ms(self) -> int:
        seconds, microseconds = await self._redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def end_soon(self, *, gap_ms: int) -> int:
        """Let every lease end now, and pretend that nobody looked for this time."""
        now = await self.now_ms()
        async with self._redis.pipeline() as together:
            members: Any = await self._redis.zrange(f"{self._base}:leases", 0, -1)
            for member in members:
                together.zadd(f"{self._base}:leases", {member: now})
            together.hset(f"{self._base}:meta", "looked", now - gap_ms)
            await together.execute()
        return now

    async def extensions_ms(self, after: int) -> list[int]:
        """From the first look after this moment, by how much each lease was extended."""
        async with self._redis.pipeline() as together:
            together.hget(f"{self._base}:meta", "looked")
            together.zrange(f"{self._base}:leases", 0, -1, withscores=True)
            looked, leases = await together.execute()
        return [round(end) - int(looked) for _, end in leases] if int(looked) >= after else []


async def test_after_a_stall_leases_are_extended_by_the_time_that_renewing_takes(
    start_service: StartService, client: Client, peers: Peers, redis_url: str, key_prefix: str
) -> None:
    """Else a machine that disappeared just before keeps its jobs for almost two leases."""
    service = await start_service(lease_ms=LEASE_MS)
    client.url = service.url
    worker = peers.make(1)
    await worker.connect(service.url)
    async with Redis.from_url(redis_url) as redis:
        leases = Leases(redis, key_prefix)
        moment = await leases.end_soon(gap_ms=LEASE_MS * 2 // 3)
        found: list[int] = []

        async def has_looked() -> bool:
            found[:] = await leases.extensions_ms(moment)
            return bool(found)

        await wait_until(has_looked, "the leases were looked at")
    assert is_near(found, LEASE_MS // 3 + 1000)


@pytest.mark.leaves_subscribers
async def test_after_a_restart_leases_are_extended_by_a_whole_lease(
    start_service: StartService, peers: Peers, redis_url: str, key_prefix: str
) -> None:
    """Workers may have to connect again before anybody renews for them."""
    service = await start_service(lease_ms=LEASE_MS)
    worker = peers.make(1)
    await worker.connect(service.url)
    service.kill()
    async with Redis.from_url(redis_url) as redis:
        leases = Leases(redis, key_prefix)
        moment = await leases.end_soon(gap_ms=LEASE_MS * 2 // 3)
        await start_service(lease_ms=LEASE_MS)
        found: list[int] = []

        async def has_looked() -> bool:
            found[:] = await leases.extensions_ms(moment)
            return bool(found)

        await wait_until(has_looked, "the new replica looked at the leases")
    assert is_near(found, LEASE_MS)
