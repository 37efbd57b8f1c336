"""The bench's own promises: it waits, and it notices what a test leaves behind."""

import asyncio
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.leaks import find_leaks, tasks_left
from tests.waiting import WaitedInVain, hold_for, wait_until


async def test_a_wait_ends_when_its_predicate_is_true() -> None:
    looks = iter([False, False, "found"])
    assert await wait_until(lambda: next(looks), "it is found") == "found"


async def test_a_wait_in_vain_says_what_was_waited_for() -> None:
    with pytest.raises(WaitedInVain, match="until pigs fly; last seen: 0"):
        await wait_until(lambda: 0, "pigs fly", 0.05)


async def test_a_hold_fails_when_the_promise_is_broken() -> None:
    looks = iter([True, False])
    with pytest.raises(AssertionError, match="no longer true"):
        await hold_for(1.0, lambda: next(looks), "all is well")


@pytest.fixture
def bench_keys(redis_url: str) -> Iterator["Redis"]:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield redis
        redis.delete(*redis.keys("bench:*"))


def test_a_key_without_ttl_and_owner_is_a_leak(redis_url: str, bench_keys: "Redis") -> None:
    bench_keys.set("bench:{svc}:input:forgotten", "x")
    bench_keys.set("bench:{svc}:input:idempotency:expires", "x", ex=60)
    bench_keys.hset("bench:{svc}:input:request_ids", "rid", "1")
    bench_keys.zadd("bench:{svc}:sink:leases", {"eas\x1fu1": 1})
    bench_keys.xadd("bench:{svc}:sink:lane:0", {"data": "x"})
    assert find_leaks(redis_url, "bench") == [
        "bench:{svc}:input:forgotten: has no TTL, and nobody owns it",
        "bench:{svc}:input:request_ids: belongs to entries, and none should be left",
        "bench:{svc}:sink:lane:0: has 1 entries",
        "bench:{svc}:sink:leases: belongs to subscribers, and none should be left",
    ]


def test_a_sum_that_is_wrong_is_a_leak(redis_url: str, bench_keys: "Redis") -> None:
    bench_keys.hset("bench:{svc}:input:meta", mapping={"last": 7, "held": 2})
    bench_keys.hset("bench:{svc}:input:groups", mapping={"eas\x1fheld": 1, "eas\x1fleft": 99})
    bench_keys.hset("bench:{svc}:input:members", mapping={"eas": 1})
    assert find_leaks(redis_url, "bench") == [
        "bench:{svc}:input: group eas says 1 held, there are 0",
        "bench:{svc}:input: group eas says 1 members, there are 0 leases",
        "bench:{svc}:input: meta says that 2 are held, holds has 0",
    ]


async def test_a_task_that_still_runs_is_a_leak() -> None:
    task = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    assert any("forgotten" in left for left in tasks_left())
    task.cancel()
