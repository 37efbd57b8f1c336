"""Writes what a backup has into a Redis, and makes it ready for a queue service.

The indexes of every queue go on far above those of the backup.  Clients and workers may still hold
indexes that were given after the backup: no new entry gets one of them, so nobody commits, deletes
or answers an entry that it has never seen.
"""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from redis.exceptions import RedisError

from deploy.backup.archive import Member
from deploy.backup.client import Client
from deploy.backup.errors import BackupFailed, StoreInUse, StoreNotEmpty
from deploy.backup.resp import Command, decode

#: How far the indexes go on: more than were ever given between a backup and a loss.
JUMP = 1_000_000_000

#: Commands and bytes of one round trip.
MOST_COMMANDS, MOST_BYTES = 500, 4 * 1024 * 1024

#: Keys of one step when a store is emptied.
SCAN_COUNT = 1000

_META = re.compile(rb":(input|sink):meta$")


class Replay:
    """One restore into the keys of one prefix.

    keys: how many were written.  listed: what was written into the hash `listing`.
    """

    def __init__(self, redis: Client, prefix: str, *, listing: str = "") -> None:
        self.listed: dict[bytes, bytes] = {}
        self._listing = listing.encode()
        self._redis = redis
        self._prefix = prefix
        self._keys: set[bytes] = set()

    @property
    def keys(self) -> int:
        return len(self._keys)

    async def check_unused(self) -> None:
        """Raise StoreInUse while a queue service runs on this store.

        An announcement is "<when> <until when, ms since 1970> <what it says>": announce.lua.
        """
        try:
            seconds, _ = await self._redis.ask("TIME")
            kept = await self._redis.ask("HVALS", f"{self._prefix}:{{*}}:replicas")
        except (RedisError, OSError, TimeoutError) as error:
            raise _failed(error) from error
        now_ms = int(seconds) * 1000
        if live := [one for one in kept if int(one.split(b" ", 2)[1]) > now_ms]:
            raise StoreInUse(len(live))

    async def check_empty(self, where: str) -> None:
        """Raise StoreNotEmpty when there is anything but announcements of processes."""
        announced = f"{self._prefix}:{{*}}:replicas".encode()
        try:
            async for keys in self._scan():
                if any(key != announced for key in keys):
                    raise StoreNotEmpty(where)
        except (RedisError, OSError, TimeoutError) as error:
            raise _failed(error) from error

    async def empty(self) -> None:
        """Remove every key of the prefix."""
        try:
            async for keys in self._scan():
                if keys:
                    await self._redis.ask("UNLINK", *keys)
        except (RedisError, OSError, TimeoutError) as error:
            raise _failed(error) from error

    async def _scan(self) -> AsyncIterator[list[bytes]]:
        cursor: Any = 0
        while True:
            cursor, keys = await self._redis.ask(
                "SCAN", cursor, "MATCH", f"{self._prefix}:*", "COUNT", SCAN_COUNT
            )
            yield keys
            if not int(cursor):
                return

    async def write(self, member: Member) -> None:
        """Run the commands of one member."""
        try:
            for commands in _steps(member.data, self._prefix.encode()):
                for command in commands:
                    self._keys.add(command.key)
                    if command.key == self._listing and command.words[0] == b"HSET":
                        parts = command.words[2:]
                        self.listed.update(zip(parts[::2], parts[1::2], strict=False))
                await self._redis.send([command.packed for command in commands])
        except (RedisError, OSError, TimeoutError) as error:
            raise _failed(error) from error

    async def finish(self) -> None:
        """Let the indexes of every queue go on far above those of the backup."""
        try:
            for key in self._keys:
                if not (match := _META.search(key)):
                    continue
                last = await self._redis.ask("HINCRBY", key, "last", JUMP)
                if match[1] == b"input":
                    # Positions are counted by indexes: until the entries of before are gone they
                    # are at most what is said.
                    await self._redis.ask("HSET", key, "gaps_from", last)
        except (RedisError, OSError, TimeoutError) as error:
            raise _failed(error) from error


def _failed(error: Exception) -> BackupFailed:
    return BackupFailed(f"Redis refused what a restore needs: {error}")


def _steps(data: bytes, prefix: bytes) -> Iterator[list[Command]]:
    step: list[Command] = []
    size = 0
    for command in decode(data, prefix=prefix):
        step.append(command)
        size += len(command.packed)
        if len(step) >= MOST_COMMANDS or size >= MOST_BYTES:
            yield step
            step, size = [], 0
    if step:
        yield step
