"""What a test must not leave behind: Redis keys, held entries, asyncio tasks.

The rule for keys: a key has a TTL, or somebody who owns it and will remove it.  An idle service
owns few keys, and this table is all of them.  A key that is in no line of it is a leak.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import pytest
from redis import Redis

#: Keys that an idle service may keep: the part of the name after `<prefix>:{<service>}:`, and why.
IDLE_KEYS: tuple[tuple[str, str], ...] = (
    (r"(input|sink):meta", "the last index and the counters outlive every entry"),
    (r"(input|sink):lane:\d+", "an empty stream carries the consumer groups of the queue"),
    (r"(input|sink):groups", "the groups that have a cursor in the queue"),
    (r"settings", "what the service was created with"),
)

#: Hashes whose values count entries in somebody's hands; on an idle service each is 0.
HELD_KEYS: tuple[str, ...] = (r"(input|sink):held(:.*)?",)

#: Of a test that leaves entries in its queues on purpose.
LEAVES_ENTRIES = "leaves_entries"

_KEY = re.compile(r"(?P<prefix>[^:]+):\{(?P<service>[^}]+)\}:(?P<name>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Leak:
    """One key that should not be there, or not like this."""

    key: str
    why: str

    def __str__(self) -> str:
        return f"{self.key}: {self.why}"


def find_leaks(
    redis_url: str, prefix: str, *, service: str | None = None, entries_allowed: bool = False
) -> list[Leak]:
    """Return what is left under `prefix`, of one service or of all.

    entries_allowed: the test left entries on purpose; what belongs to them is then no leak.
    """
    leaks: list[Leak] = []
    with closing(Redis.from_url(redis_url, decode_responses=True)) as redis:
        for key in redis.scan_iter(match=f"{prefix}:*", count=1000):
            parts = _KEY.fullmatch(key)
            if service is not None and parts is not None and parts["service"] != service:
                continue
            if redis.pttl(key) >= 0:
                continue
            name = parts["name"] if parts is not None else key
            leaks += _look_at(redis, key, name, entries_allowed=entries_allowed)
    return leaks


def _look_at(redis: "Redis", key: str, name: str, *, entries_allowed: bool) -> Iterator[Leak]:
    if any(re.fullmatch(pattern, name) for pattern in HELD_KEYS):
        held = cast(dict[str, str], redis.hgetall(key))
        yield from (
            Leak(key, f"{subscriber} still holds {count}")
            for subscriber, count in held.items()
            if count != "0"
        )
        return
    if redis.type(key) == "stream" and (length := redis.xlen(key)) and not entries_allowed:
        yield Leak(key, f"holds {length} entries")
    if not entries_allowed and not any(re.fullmatch(pattern, name) for pattern, _ in IDLE_KEYS):
        yield Leak(key, "has no TTL, and an idle service does not keep such a key")


@pytest.fixture(autouse=True)
def nothing_left_in_redis(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test whose services left something in Redis; it looks after they have stopped."""
    if "key_prefix" not in request.fixturenames:
        yield
        return
    # Asked for before the test's services, so torn down after them.
    redis_url = request.getfixturevalue("redis_url")
    key_prefix = request.getfixturevalue("key_prefix")
    yield
    allowed = request.node.get_closest_marker(LEAVES_ENTRIES) is not None
    leaks = find_leaks(redis_url, key_prefix, entries_allowed=allowed)
    assert not leaks, "left in Redis:\n" + "\n".join(map(str, leaks))


def tasks_left() -> list[str]:
    """Return the asyncio tasks of the running loop, less the one that asks."""
    current = asyncio.current_task()
    return [repr(task) for task in asyncio.all_tasks() if task is not current and not task.done()]
