"""The bench's own promises: it waits, and it notices what a test leaves behind."""

import asyncio

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


def test_a_key_without_ttl_and_owner_is_a_leak(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.set("bench-1:{svc}:input:forgotten", "x")
        redis.set("bench-1:{svc}:input:expires", "x", ex=60)
        redis.hset("bench-1:{svc}:input:held", mapping={"eas.a": 0, "eas.b": 2})
        redis.xadd("bench-1:{svc}:sink:lane:0", {"data": "x"})
        try:
            leaks = sorted(map(str, find_leaks(redis_url, "bench-1")))
        finally:
            redis.delete(*redis.keys("bench-1:*"))
    assert leaks == [
        "bench-1:{svc}:input:forgotten: has no TTL, and an idle service does not keep such a key",
        "bench-1:{svc}:input:held: eas.b still holds 2",
        "bench-1:{svc}:sink:lane:0: holds 1 entries",
    ]


async def test_a_task_that_still_runs_is_a_leak() -> None:
    task = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    assert any("forgotten" in left for left in tasks_left())
    task.cancel()
