"""The tokens that were made at run time: one hash for all services.

| key                | type | holds                                                            |
|--------------------|------|------------------------------------------------------------------|
| `<prefix>:tokens`  | hash | token id -> its record, JSON; field `revision` -> count of changes |

Of a token's text only a digest is kept.  Every change rings the channel of the same name.
"""

from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.scripts import Scripts

#: What a ring on the channel says: which bell to ring.
TOKENS = "tokens"
_REVISION = "revision"


class TokenStore:
    """Records of tokens by id; every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts, *, key_prefix: str) -> None:
        self._scripts = scripts
        self._key = f"{key_prefix}:{TOKENS}"
        #: The pub/sub channel that rings when a token was made or revoked.
        self.channel = self._key

    async def revision(self) -> int:
        """Return how often tokens have changed."""
        return int(await self._ask("HGET", self._key, _REVISION) or 0)

    async def all(self) -> tuple[int, dict[str, bytes]]:
        """Return the revision, and every record by its id."""
        reply = await self._ask("HGETALL", self._key)
        found: dict[bytes, bytes] = dict(zip(reply[::2], reply[1::2], strict=True))
        revision = int(found.pop(_REVISION.encode(), b"0"))
        return revision, {token_id.decode(): text for token_id, text in found.items()}

    async def write(self, token_id: str, kept: bytes) -> None:
        """Keep a record."""
        await self._ask("HSET", self._key, token_id, kept)
        await self._changed()

    async def rewrite(self, token_id: str, kept: bytes, wanted: bytes) -> bool:
        """Write a record again; False when it is no longer the one that is known."""
        arguments = [self.channel, token_id, kept, wanted]
        return bool(await self._scripts.ask("bind_token", [self._key], arguments))

    async def remove(self, token_id: str) -> bool:
        """Forget a record; False when there was none."""
        removed = await self._ask("HDEL", self._key, token_id)
        await self._changed()
        return bool(removed)

    async def _changed(self) -> None:
        # After the change: a process that sees the new revision reads the new records, and once
        # the revision is durable, so is the change.
        await self._ask("HINCRBY", self._key, _REVISION, 1, promised=True)
        await self._ask("PUBLISH", self.channel, TOKENS)

    async def _ask(self, *command: Any, promised: bool = False) -> Any:
        try:
            return await self._scripts.command(self._key, *command, promised=promised)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(TOKENS, str(error)) from error
