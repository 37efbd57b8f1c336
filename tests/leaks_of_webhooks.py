"""What a test must not leave of webhooks: ends without deliveries, and deliveries that wait."""

import re
from collections.abc import Iterator
from typing import cast

from redis import Redis

#: A service's own: what its webhooks have sent and are to send, and all endpoints.
WEBHOOK_KEYS = re.compile(r".+:webhooks(:[a-z]+(:.+)?)?")


def leaks_of_webhooks(
    redis: "Redis", prefix: str, *, service: str | None, may_wait: bool
) -> Iterator[str]:
    """Say where ends have no deliveries yet, deliveries wait, or a delivery is in no list.

    may_wait: the test leaves what waits.
    """
    for outbox in redis.scan_iter(match=f"{prefix}:*:webhooks", count=1000, _type="stream"):
        if (count := redis.xlen(outbox)) and not may_wait:
            yield f"{outbox}: has {count} ends without deliveries"
    for key in redis.scan_iter(match=f"{prefix}:*:webhooks:deliveries", count=1000):
        base = cast(str, key).removesuffix("deliveries")
        if service and f"{{{service}}}" not in base:
            continue
        waiting: set[str] = set()
        for due in redis.scan_iter(match=f"{base}due:*", count=1000):
            waiting |= set(cast(list[str], redis.zrange(due, 0, -1)))
            if redis.zscore(f"{base}buckets", cast(str, due).removeprefix(f"{base}due:")) is None:
                yield f"{due}: has deliveries, and no bucket says so"
        if waiting and not may_wait:
            yield f"{key}: {len(waiting)} deliveries wait"
        ended: set[str] = set()
        for name in ("delivered", "failed"):
            ended |= set(cast(list[str], redis.zrange(f"{base}{name}", 0, -1)))
        if (known := set(cast(list[str], redis.hkeys(key)))) != waiting | ended:
            yield f"{key}: has {sorted(known)}, listed are {sorted(waiting | ended)}"
