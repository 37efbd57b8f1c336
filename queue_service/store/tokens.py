"""The tokens that were made at run time: one hash for all services.

| key                | type | holds                                                            |
|--------------------|------|------------------------------------------------------------------|
| `<prefix>:tokens`  | hash | token id -> its record, JSON; field `revision` -> count of changes |

Of a token's text only a digest is kept.  Every change rings the channel of the same name.
"""

from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable

#: What a ring on the channel says: which bell to ring.
TOKENS = "tokens"
_REVISION = "revision"


class TokenStore:
    """Records of tokens by id; every method raises StoreUnavailable."""

    def __init__(self, redis: Redis, *, key_prefix: str) -> None:
        self._redis = redis
        self._key = f"{key_prefix}:{TOKENS}"
        #: The pub/sub channel that rings when a token was made or revoked.
        self.channel = self._key

    async def revision(self) -> int:
        """Return how often tokens have changed."""
        return int(cast(bytes | None, await self._ask(self._redis.hget(self._key, _REVISION))) or 0)

    async def all(self) -> tuple[int, dict[str, bytes]]:
        """Return the revision, and every record by its id."""
        found = cast(dict[bytes, bytes], await self._ask(self._redis.hgetall(self._key)))
        revision = int(found.pop(_REVISION.encode(), b"0"))
        return revision, {token_id.decode(): text for token_id, text in found.items()}

    async def write(self, token_id: str, kept: bytes) -> None:
        """Keep a record."""
        await self._ask(self._redis.hset(self._key, token_id, cast(str, kept)))
        await self._changed()

    async def remove(self, token_id: str) -> bool:
        """Forget a record; False when there was none."""
        removed = await self._ask(self._redis.hdel(self._key, token_id))
        await self._changed()
        return bool(removed)

    async def _changed(self) -> None:
        # After the change: whoever sees the new revision reads the new records.
        await self._ask(self._redis.hincrby(self._key, _REVISION, 1))
        await self._ask(self._redis.publish(self.channel, TOKENS))

    async def _ask(self, command: object) -> bytes | int | dict[bytes, bytes] | None:
        try:
            return await cast(Awaitable[bytes | int | dict[bytes, bytes] | None], command)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(TOKENS, str(error)) from error
