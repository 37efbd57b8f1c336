"""Which payload files a service still needs, as the scripts count it (prelude/contents.lua)."""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts


class FileHolders:
    """The payload files of one service; every method raises StoreUnavailable.

    The service may have been deleted: then nothing needs a file.
    """

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys

    async def are_held(self, file_ids: Sequence[str]) -> list[bool]:
        """Say of each whether an entry or a dead letter names it."""
        if not file_ids:
            return []
        reply = await self._ask(self._keys.file_holders, "HMGET", *file_ids)
        return [count is not None for count in reply]

    async def unneeded(self, *, count: int) -> list[str]:
        """Return files that nothing names any more and whose contents may still be there."""
        reply = await self._ask(self._keys.unneeded, "ZRANGE", 0, count - 1)
        return [file_id.decode() for file_id in reply]

    async def forget(self, file_ids: Sequence[str]) -> None:
        """Forget unneeded files: their contents have been removed."""
        if file_ids:
            await self._ask(self._keys.unneeded, "ZREM", *file_ids)

    async def _ask(self, key: str, command: str, *arguments: Any) -> Any:
        try:
            return await self._scripts.command(key, command, key, *arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("files", str(error)) from error
