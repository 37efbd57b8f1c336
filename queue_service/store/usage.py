"""What tokens have used, as the scripts count it: rows by hour, token and owner.

Rows of a deleted service stay until they expire.  Its name is then among the departed:

| key                      | type       | holds                                                  |
|--------------------------|------------|--------------------------------------------------------|
| `<prefix>:{*}:departed`  | sorted set | name and incarnation -> when its last row expires, ms  |
"""

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts

#: The numbers of a row, in the order of prelude/usage.lua.
COLUMNS = (
    *("succeeded", "failed", "canceled", "expired"),
    *("counted", "counted_ms", "counted_gpu_ms"),
    *("wasted", "wasted_ms", "wasted_gpu_ms"),
    *("started", "wait_ms"),
    *("bytes_in", "bytes_out", "prompt_tokens", "completion_tokens"),
)
HOUR_MS = 3_600_000
#: How many rows one call reads.
STEP = 500
#: How many rows Redis looks at in one call for those of one token.
SCAN_STEP = 5000
#: In place of the token or the owner: the service's own.
_OWN = b"-"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one token used in one hour; token and owner are "" for the service's own token.

    hour: hours since 1970.  numbers: in the order of COLUMNS.
    """

    hour: int
    token: str
    owner: str
    numbers: tuple[int, ...]


class UsageStore:
    """The rows of all services; every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts, key_prefix: str) -> None:
        self._scripts = scripts
        self._prefix = key_prefix
        self._departed = f"{key_prefix}:{{*}}:departed"

    async def rows(
        self, service: str, incarnation: int, first_hour: int, last_hour: int
    ) -> AsyncGenerator[Sequence[UsageRow], None]:
        """Yield the rows of a service from one hour to another, both included, some at a time."""
        usage, hours = Keys(self._prefix, service, incarnation).usage
        start = 0
        while True:
            fields = await self._ask(
                "ZRANGEBYSCORE", hours, first_hour, last_hour, "LIMIT", start, STEP
            )
            texts = await self._ask("HMGET", usage, *fields) if fields else []
            # A row may have expired in between.
            yield [
                _row(field, text)
                for field, text in zip(fields, texts, strict=True)
                if text is not None
            ]
            if len(fields) < STEP:
                return
            start += STEP

    async def rows_of(
        self, service: str, incarnation: int, first_hour: int, last_hour: int, token: str
    ) -> AsyncGenerator[Sequence[UsageRow], None]:
        """Yield only the rows of one token: Redis picks them, so those of others cost little."""
        usage, _ = Keys(self._prefix, service, incarnation).usage
        seen: set[bytes] = set()
        cursor: Any = b"0"
        while True:
            cursor, found = await self._ask(
                "HSCAN", usage, cursor, "MATCH", f"* {token} *", "COUNT", SCAN_STEP
            )
            rows = []
            for field, text in zip(found[::2], found[1::2], strict=True):
                if field not in seen:
                    seen.add(field)
                    rows.append(_row(field, text))
            yield [
                row for row in rows if row.token == token and first_hour <= row.hour <= last_hour
            ]
            if cursor == b"0":
                return

    async def depart(self, service: str, incarnation: int, kept_ms: int) -> None:
        """Remember a service that is deleted, for as long as its rows are kept."""
        now = int(time.time() * 1000)
        await self._ask("ZADD", self._departed, now + kept_ms, f"{service} {incarnation}")
        await self._ask("ZREMRANGEBYSCORE", self._departed, "-inf", now)
        await self._ask("PEXPIRE", self._departed, kept_ms)

    async def departed(self) -> list[tuple[str, int]]:
        """Return the deleted services of which rows may be left: names and incarnations."""
        found = []
        for member in await self._ask("ZRANGE", self._departed, 0, -1):
            service, _, incarnation = member.decode().rpartition(" ")
            found.append((service, int(incarnation)))
        return found

    async def _ask(self, command: str, key: str, *arguments: Any) -> Any:
        try:
            return await self._scripts.command(key, command, key, *arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("usage", str(error)) from error


def _row(field: bytes, text: bytes) -> UsageRow:
    hour, token, owner = field.split(b" ", 2)
    numbers = tuple(map(int, text.split()))[: len(COLUMNS)]
    return UsageRow(int(hour), _name(token), _name(owner), numbers)


def _name(text: bytes) -> str:
    return "" if text == _OWN else text.decode()
