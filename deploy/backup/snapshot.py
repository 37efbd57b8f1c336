"""Reads what is stored in a Redis, as one consistent moment, while everything runs.

The large part are the entries of streams, which never change: they are copied first, a few at a
time.  Then Redis holds back every write (`CLIENT PAUSE … WRITE`) while what is new or gone of the
streams, and everything else, is read.  Clients and workers wait that long, and nothing is refused
unless it takes longer than their time-outs.  If this process dies, the pause ends by itself.

Nothing here is larger than one member of the archive, beside the ids of the entries.
"""

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError, ResponseError

from deploy.backup.client import Client, Words
from deploy.backup.errors import BackupFailed
from deploy.backup.resp import encode

#: How long Redis holds back writes after the last renewal, in ms; and when to renew, in seconds.
PAUSE_MS = 5000
RENEW_S = 1.0

#: Keys of one step of a scan, keys that are read in one round trip, and parts of one command.
SCAN_COUNT, KEYS_COUNT, PARTS_COUNT = 1000, 100, 500

#: Entries or fields of the first read of a key, and of the largest: one may have many MiB.
FEWEST, MOST = 8, 1024

#: A read that gives fewer bytes than this is followed by a larger one, and one that gives four
#: times as many by a smaller one.
SMALL_READ_BYTES = 1024 * 1024

#: Streams of entries: few keys, which may hold gigabytes.  Other streams have the events of a job.
_OF_ENTRIES = re.compile(rb":(input|sink):lane:[01]$|:delayed$")

#: The ids of a stream, without the entries: Redis 7 runs it while it holds back writes.
_IDS = """
local ids = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])) do
    ids[#ids + 1] = entry[1]
end
return ids
"""

#: How long keys are still kept.
_TIMES = """
local left = {}
for at, key in ipairs(KEYS) do
    left[at] = redis.call('PTTL', key)
end
return left
"""


@dataclass(slots=True)
class _Copied:
    """What was copied of a stream before the pause."""

    last: bytes = b"0-0"
    ids: list[bytes] = field(default_factory=list)


class Snapshot:
    """One reading of everything under a key prefix.

    paused_s: how long writes were held back, when it is done.  keys: how many there are.
    listed: the names in the hash `listing`, when it is done.
    """

    def __init__(self, redis: Client, prefix: str, *, listing: str = "") -> None:
        self.paused_s = 0.0
        self.keys = 0
        self.listed: set[bytes] = set()
        self._listing = listing.encode()
        self._redis = redis
        self._prefix = prefix
        self._renewed_at: float | None = None

    async def commands(self) -> AsyncGenerator[bytes, None]:
        """Yield commands that write what is stored, in Redis's protocol; raises BackupFailed."""
        copied: dict[bytes, _Copied] = {}
        try:
            async for key in self._scan("stream"):
                if _OF_ENTRIES.search(key):
                    copied[key] = _Copied()
                    async for command in self._entries_after(key, copied[key]):
                        yield command
            began = time.monotonic()
            try:
                await self._pause()
                async for command in self._all_but(copied):
                    yield command
                await self._renew()
            finally:
                await self._redis.ask("CLIENT", "UNPAUSE")
                self._renewed_at = None
                self.paused_s = time.monotonic() - began
        except (RedisError, OSError, TimeoutError) as error:
            raise BackupFailed(f"Redis refused what a backup needs: {error}") from error

    async def _all_but(self, copied: dict[bytes, _Copied]) -> AsyncIterator[bytes]:
        for key, known in copied.items():
            async for command in self._rest_of_stream(key, known):
                yield command
        readers: dict[str, Callable[[list[bytes]], AsyncIterator[bytes]]] = {
            "stream": self._streams,
            "hash": lambda keys: self._by_scan(keys, "HSCAN", b"HSET"),
            "zset": lambda keys: self._by_scan(keys, "ZSCAN", b"ZADD"),
            "set": lambda keys: self._by_scan(keys, "SSCAN", b"SADD"),
            "list": self._lists,
            "string": self._strings,
        }
        for kind, reader in readers.items():
            keys = [key async for key in self._scan(kind) if key not in copied]
            # Texts are short; there is one for each idempotency key.
            count = SCAN_COUNT if kind == "string" else KEYS_COUNT
            for at in range(0, len(keys), count):
                step = keys[at : at + count]
                async for command in reader(step):
                    yield command
                async for command in self._times_of(step):
                    yield command

    async def _scan(self, kind: str) -> AsyncIterator[bytes]:
        """Give the keys of one type; each once, although Redis may give one twice."""
        cursor, seen = 0, set()
        # Processes announce themselves again when they run.
        seen.add(f"{self._prefix}:{{*}}:replicas".encode())
        while True:
            reply = await self._ask(
                "SCAN", cursor, "MATCH", f"{self._prefix}:*", "COUNT", SCAN_COUNT, "TYPE", kind
            )
            cursor = int(reply[0])
            for key in reply[1]:
                if key not in seen:
                    seen.add(key)
                    yield key
            if not cursor:
                return

    async def _entries_after(self, key: bytes, known: _Copied) -> AsyncIterator[bytes]:
        count = FEWEST
        while True:
            found = await self._ask("XRANGE", key, b"(" + known.last, "+", "COUNT", count)
            read_bytes = 0
            for entry_id, fields in found:
                known.last = entry_id
                known.ids.append(entry_id)
                command = encode((b"XADD", key, entry_id, *fields))
                read_bytes += len(command)
                yield command
            if len(found) < count:
                return
            count = _next_count(count, read_bytes)

    async def _rest_of_stream(self, key: bytes, known: _Copied) -> AsyncIterator[bytes]:
        """What has happened to a stream since it was copied, and its last id."""
        if not await self._ask("EXISTS", key):
            if known.ids:
                yield encode((b"UNLINK", key))
            return
        there = await self._ids(key, known.last)
        gone = [entry_id for entry_id in known.ids if entry_id not in there]
        async for command in self._entries_after(key, known):
            yield command
        for at in range(0, len(gone), PARTS_COUNT):
            yield encode((b"XDEL", key, *gone[at : at + PARTS_COUNT]))
        if known.ids:
            # No new entry may have an id below the last one, which may be gone.
            about = await self._ask("XINFO", "STREAM", key)
            last = dict(zip(about[::2], about[1::2], strict=True))[b"last-generated-id"]
            yield encode((b"XSETID", key, last))
            # A stream that was always empty has nothing to restore.
            self.keys += 1

    async def _ids(self, key: bytes, last: bytes) -> set[bytes]:
        """The ids of a stream up to the last that was copied."""
        ids: set[bytes] = set()
        after, count = b"-", 2000
        while last != b"0-0":
            try:
                found = await self._ask("EVAL_RO", _IDS, 1, key, after, last, count)
            except ResponseError:
                # Before Redis 7 no script may run now: read the entries again.
                count = PARTS_COUNT
                entries = await self._ask("XRANGE", key, after, last, "COUNT", count)
                found = [entry[0] for entry in entries]
            ids.update(found)
            if len(found) < count:
                break
            after = b"(" + found[-1]
        return ids

    async def _streams(self, keys: list[bytes]) -> AsyncIterator[bytes]:
        """Events, and queues that are new since the entries were copied."""
        for key in keys:
            known = _Copied()
            async for command in self._entries_after(key, known):
                yield command
            if not known.ids:
                # It has nothing to restore, and _times_of counts every key.
                self.keys -= 1

    async def _by_scan(self, keys: list[bytes], verb: str, writes: bytes) -> AsyncIterator[bytes]:
        first = await self._ask_of_each(keys, lambda key: (verb, key, 0, "COUNT", FEWEST))
        for key, reply in zip(keys, first, strict=True):
            (cursor, parts), count = reply, FEWEST
            while True:
                if key == self._listing:
                    self.listed.update(parts[::2])
                if writes == b"ZADD":
                    # It wants the score before the member.
                    pairs = zip(parts[::2], parts[1::2], strict=True)
                    parts = [part for member, score in pairs for part in (score, member)]
                for at in range(0, len(parts), 2 * PARTS_COUNT):
                    yield encode((writes, key, *parts[at : at + 2 * PARTS_COUNT]))
                if not int(cursor):
                    break
                count = _next_count(count, sum(map(len, parts)))
                cursor, parts = await self._ask(verb, key, cursor, "COUNT", count)

    async def _lists(self, keys: list[bytes]) -> AsyncIterator[bytes]:
        for key in keys:
            start = 0
            while found := await self._ask("LRANGE", key, start, start + PARTS_COUNT - 1):
                yield encode((b"RPUSH", key, *found))
                start += len(found)

    async def _strings(self, keys: list[bytes]) -> AsyncIterator[bytes]:
        values = await self._ask("MGET", *keys)
        pairs = zip(keys, values, strict=True)
        yield b"".join(encode((b"SET", key, value)) for key, value in pairs if value is not None)

    async def _times_of(self, keys: list[bytes]) -> AsyncIterator[bytes]:
        """The moments at which keys expire."""
        self.keys += len(keys)
        try:
            left = await self._ask("EVAL_RO", _TIMES, len(keys), *keys)
        except ResponseError:
            left = await self._ask_of_each(keys, lambda key: ("PTTL", key))
        seconds, microseconds = await self._ask("TIME")
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        yield b"".join(
            encode((b"PEXPIREAT", key, now_ms + int(left_ms)))
            for key, left_ms in zip(keys, left, strict=True)
            if int(left_ms) >= 0
        )

    async def _ask_of_each(self, keys: list[bytes], command: Callable[[bytes], Words]) -> list[Any]:
        """Send one command for each key in one round trip."""
        await self._renew()
        return await self._redis.ask_all(map(command, keys))

    async def _ask(self, *words: Any) -> Any:
        await self._renew()
        return await self._redis.ask(*words)

    async def _pause(self) -> None:
        asked_at = time.monotonic()
        await self._redis.ask("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        # From the moment before it was asked: the pause began no earlier.
        self._renewed_at = asked_at

    async def _renew(self) -> None:
        """Hold writes back for longer; raises BackupFailed when some may have gone through."""
        if self._renewed_at is None:
            return
        since_s = time.monotonic() - self._renewed_at
        if since_s * 1000 >= PAUSE_MS:
            raise BackupFailed(
                f"expected Redis and the file to take less than {PAUSE_MS / 1000:g} s a step, "
                f"got {since_s:.1f} s: what was read is not one moment; try again later"
            )
        if since_s >= RENEW_S:
            await self._pause()


def _next_count(count: int, read_bytes: int) -> int:
    """Return how much to read next, after a read of this size."""
    if read_bytes < SMALL_READ_BYTES:
        return min(2 * count, MOST)
    return max(1, count // 2) if read_bytes > 4 * SMALL_READ_BYTES else count
