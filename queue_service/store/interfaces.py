"""What the workers of a service declare: one copy of each version, by its digest.

| key                                 | type | holds                                             |
|-------------------------------------|------|---------------------------------------------------|
| `<prefix>:{<service>}:interfaces`   | hash | digest -> interface (JSON); `newest` -> the digest |
|                                     |      | of the worker that has connected last, "" if it    |
|                                     |      | declares nothing                                  |
"""

from collections.abc import Iterable
from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts

#: What a ring on the service's channel says when another version has connected.
INTERFACES = "interfaces"
_NEWEST = "newest"


class InterfaceStore:
    """The interfaces of one service; every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._key = keys.interfaces
        self._channel = keys.channel

    async def newest(self) -> str | None:
        """Return the digest of the newest, "" for a worker without one; None if there was none."""
        found = await self._ask("HGET", self._key, _NEWEST)
        return None if found is None else found.decode()

    async def add(self, digest: str, interface: bytes) -> int:
        """Keep an interface as the newest one; return how many there are."""
        await self._ask("HSET", self._key, digest, interface, _NEWEST, digest)
        await self._ask("PUBLISH", self._channel, INTERFACES)
        return int(await self._ask("HLEN", self._key)) - 1

    async def note_none(self) -> None:
        """Note that the newest worker declares nothing."""
        await self._ask("HSET", self._key, _NEWEST, "")
        await self._ask("PUBLISH", self._channel, INTERFACES)

    async def read(self, digests: Iterable[str]) -> list[bytes | None]:
        """Return these interfaces; None for one that is not there."""
        wanted = list(digests)
        if not wanted:
            return []
        reply: list[bytes | None] = await self._ask("HMGET", self._key, *wanted)
        return reply

    async def keep_only(self, digests: Iterable[str]) -> None:
        """Forget all others."""
        kept = {_NEWEST, *digests}
        found = [name.decode() for name in await self._ask("HKEYS", self._key)]
        if gone := [name for name in found if name not in kept]:
            await self._ask("HDEL", self._key, *gone)

    async def _ask(self, *command: Any) -> Any:
        try:
            return await self._scripts.command(self._key, *command)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(INTERFACES, str(error)) from error
