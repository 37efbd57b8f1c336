"""What must hold of the rows of usage, which stay for months: each is listed by its hour."""

from collections.abc import Iterator
from typing import cast

from redis import Redis

#: How many numbers a row has.
COLUMNS = 16


def is_usage(key: str) -> bool:
    """Say whether this key has rows of usage: bounded by their age and their number."""
    return key.endswith((":usage", ":usage_hours"))


def differences_of_usage(redis: "Redis", prefix: str) -> Iterator[str]:
    """Say where rows and the list of their hours differ, and which runs nothing will end."""
    for key in redis.scan_iter(match=f"{prefix}:*:usage", count=1000):
        rows = cast(dict[str, str], redis.hgetall(key))
        listed = cast(list[tuple[str, float]], redis.zrange(f"{key}_hours", 0, -1, withscores=True))
        if {row: int(hour) for row, hour in listed} != {row: int(row.split()[0]) for row in rows}:
            yield f"{key}: has {sorted(rows)}, listed are {listed}"
        for row, text in rows.items():
            numbers = [int(number) for number in text.split()]
            if len(numbers) != COLUMNS or min(numbers) < 0:
                yield f"{key}: the row {row} has {text}"
    for key in redis.scan_iter(match=f"{prefix}:*:input:deliveries", count=1000):
        records = cast(dict[str, str], redis.hgetall(key))
        for field in records:
            record, separator, name = field.rpartition("\x1f")
            if name == "run" and records.get(record, "").split(":")[2:3] != ["h"]:
                yield f"{key}: has {record!r}{separator}run, and nobody holds it"
