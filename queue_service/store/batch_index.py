"""Batches in Redis: what they are, how far they are, and which process runs each.

| key                              | type       | holds                                         |
|----------------------------------|------------|-----------------------------------------------|
| `<prefix>:{*batches}:batch:<id>` | hash       | `about`, `state` (JSON, see batch.py); `epoch` |
|                                  |            | of the lease; `canceled_at`, ms               |
| `<prefix>:{*batches}:open`       | sorted set | id -> when the lease of the batch ends, ms    |
| `<prefix>:{*batches}:ended`      | sorted set | id -> when the ended batch is removed, ms     |
| `<prefix>:{*batches}:counts`     | hash       | `=<owner>` -> open batches; `#number`: counter |
| `<prefix>:{*batches}:of:<owner>` | sorted set | id -> its number, in order of creation        |

A process runs a batch while it holds its lease.  Each lease has a higher epoch than the one before,
and a write under an older epoch changes nothing.  Times are those of Redis' clock.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreError, StoreUnavailable
from queue_service.store.batch import About, Batch, Lease, State
from queue_service.store.scripts import Scripts


class BatchIndex:
    """The batches of one Redis and key prefix; every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts, *, key_prefix: str) -> None:
        self._scripts = scripts
        base = f"{key_prefix}:{{*batches}}"
        self._batch, self._of = f"{base}:batch:", f"{base}:of:"
        self._open, self._ended, self._counts = f"{base}:open", f"{base}:ended", f"{base}:counts"

    async def add(self, about: About, state: State, *, most_open: int) -> bool:
        """Add a batch; False when its owner has this number of open ones.  It may be repeated."""
        keys = [self._batch + about.id, self._open, self._counts, self._of + about.owner]
        arguments = [about.id, about.owner, about.to_json(), state.to_json(), most_open]
        return bool(await self._scripts.ask("add_batch", keys, arguments))

    async def find(self, batch_ids: Sequence[str]) -> list[Batch | None]:
        """Return these batches; None for one that does not exist."""
        found: list[Batch | None] = []
        for batch_id in batch_ids:
            fields = ("about", "state", "canceled_at")
            about, state, canceled_at = await self._ask("HMGET", self._batch + batch_id, *fields)
            known = about is not None and state is not None
            found.append(_read(about, state, canceled_at) if known else None)
        return found

    async def ids_of(self, owner: str, *, after: str, count: int) -> list[str] | None:
        """Return ids of an owner's batches, the newest first; None when `after` is none of them."""
        key, bound = self._of + owner, "+inf"
        if after:
            number = await self._ask("ZSCORE", key, after)
            if number is None:
                return None
            bound = f"({int(number)}"
        reply = await self._ask("ZRANGE", key, bound, "-inf", "BYSCORE", "REV", "LIMIT", 0, count)
        return [batch_id.decode() for batch_id in reply]

    async def waiting(self, *, count: int) -> list[str]:
        """Return open batches, those that no process runs first."""
        reply = await self._ask("ZRANGE", self._open, 0, count - 1)
        return [batch_id.decode() for batch_id in reply]

    async def take(self, batch_id: str, *, lease_ms: int) -> Lease | None:
        """Take the lease of a batch; None when another process holds it, or it has ended."""
        keys = [self._batch + batch_id, self._open]
        reply = await self._scripts.ask("take_batch", keys, [batch_id, lease_ms])
        if not reply:
            return None
        epoch, about, state, canceled_at = reply
        return Lease(_read(about, state, canceled_at), int(epoch))

    async def write(self, lease: Lease, state: State | None, *, lease_ms: int) -> int | None:
        """Write the state and extend the lease, to 0 ms to give it back.

        state: None only extends the lease.  Returns when the batch was canceled, 0 if it was not;
        None, with nothing written, when another process has the lease.
        """
        about = lease.batch.about
        keys = [self._batch + about.id, self._open]
        text = "" if state is None else state.to_json()
        reply = await self._scripts.ask(
            "write_batch", keys, [about.id, lease.epoch, lease_ms, text]
        )
        return None if reply is None else int(reply)

    async def end(self, lease: Lease, state: State, *, kept_ms: int) -> bool:
        """Write the final state and end the lease; False when another process has it."""
        about = lease.batch.about
        keys = [self._batch + about.id, self._open, self._counts, self._ended]
        arguments = [about.id, lease.epoch, state.to_json(), about.owner, kept_ms]
        return bool(await self._scripts.ask("end_batch", keys, arguments))

    async def cancel(self, batch_id: str) -> bool:
        """Note that a batch is canceled; False when it is not open."""
        keys = [self._batch + batch_id, self._open]
        return bool(await self._scripts.ask("cancel_batch", keys, [batch_id]))

    async def expired(self, now_ms: int, *, count: int) -> list[str]:
        """Return ended batches that have expired."""
        reply = await self._ask("ZRANGEBYSCORE", self._ended, "-inf", now_ms, "LIMIT", 0, count)
        return [batch_id.decode() for batch_id in reply]

    async def remove(self, batch_id: str) -> None:
        """Remove what is left of a batch that has ended."""
        (batch,) = await self.find([batch_id])
        if batch is not None:
            await self._ask("ZREM", self._of + batch.about.owner, batch_id)
        await self._ask("DEL", self._batch + batch_id)
        # Last: until then the next call finds it again.
        await self._ask("ZREM", self._ended, batch_id)

    async def _ask(self, *command: Any) -> Any:
        try:
            return await self._scripts.command(self._open, *command)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("batches", str(error)) from error


def _read(about: bytes, state: bytes, canceled_at: bytes | None) -> Batch:
    try:
        return Batch(About.from_json(about), State.from_json(state), int(canceled_at or 0))
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError("batches", f"a batch cannot be read: {error!r}") from error
