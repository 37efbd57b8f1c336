"""The index of files: who owns them, what they are, and until when they are kept.

| key                           | type       | holds                                      |
|-------------------------------|------------|--------------------------------------------|
| `<prefix>:{*files}:files`     | hash       | file id -> what is known of it, JSON       |
| `<prefix>:{*files}:expiry`    | sorted set | file id -> when it expires, ms since 1970  |
| `<prefix>:{*files}:bytes`     | hash       | `=<owner>` -> bytes of its files; `=` -> of all |
| `<prefix>:{*files}:of:<owner>`| sorted set | file id -> its number, in order of creation|

The number is a counter in the field `#number` of `bytes`: times may be equal.  A file exists while
it is in the index.  Its content is written before that, and removed after it has left.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file.

    owner: see service/files.py.  sha256: of the content, hexadecimal.  Times are since 1970.
    """

    id: str
    owner: str
    filename: str
    purpose: str
    content_type: str
    size_bytes: int
    sha256: str
    created_at_ms: int
    expires_at_ms: int


class Added(StrEnum):
    """The outcome of adding a file."""

    OK = "ok"
    FULL = "full"  # all files together have reached their limit
    SHARE = "share"  # this owner's have reached theirs


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of one owner's files, and of all."""

    own_bytes: int
    total_bytes: int


class FileIndex:
    """The index of one Redis and key prefix; every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts, *, key_prefix: str) -> None:
        self._scripts = scripts
        base = f"{key_prefix}:{{*files}}"
        self._files, self._expiry = f"{base}:files", f"{base}:expiry"
        self._bytes, self._of = f"{base}:bytes", f"{base}:of:"

    async def add(self, file: StoredFile, *, limit_bytes: int) -> Added:
        """Add a file, unless the limit of all files or of this owner is reached.

        limit_bytes: of all files; 0 means no limit.  Adding it again changes nothing.
        """
        arguments = [
            file.id,
            file.owner,
            json.dumps(asdict(file)),
            file.expires_at_ms,
            file.size_bytes,
            limit_bytes,
        ]
        return Added((await self._scripts.ask("add_file", self._keys(file), arguments)).decode())

    async def remove(self, file: StoredFile) -> bool:
        """Remove a file; False when it was gone."""
        keys, arguments = self._keys(file), [file.id, file.owner, file.size_bytes]
        return bool(await self._scripts.ask("remove_file", keys, arguments))

    async def find(self, file_ids: Sequence[str]) -> list[StoredFile | None]:
        """Return these files; None for one that does not exist."""
        if not file_ids:
            return []
        reply = await self._ask("HMGET", self._files, *file_ids)
        return [None if text is None else StoredFile(**json.loads(text)) for text in reply]

    async def ids_of(
        self, owner: str, *, after: str, count: int, newest_first: bool
    ) -> list[str] | None:
        """Return ids of an owner's files, in order of creation; None when `after` is not its file.

        after: the last id that the caller has, or "" for the beginning.
        """
        key, bound = self._of + owner, "+inf" if newest_first else "-inf"
        if after:
            number = await self._ask("ZSCORE", key, after)
            if number is None:
                return None
            bound = f"({int(number)}"
        order = ("-inf", "BYSCORE", "REV") if newest_first else ("+inf", "BYSCORE")
        reply = await self._ask("ZRANGE", key, bound, *order, "LIMIT", 0, count)
        return [file_id.decode() for file_id in reply]

    async def expired(self, now_ms: int, *, count: int) -> list[StoredFile]:
        """Return expired files."""
        reply = await self._ask("ZRANGEBYSCORE", self._expiry, "-inf", now_ms, "LIMIT", 0, count)
        found = await self.find([file_id.decode() for file_id in reply])
        return [file for file in found if file is not None]

    async def keep(self, file_ids: Sequence[str], expires_at_ms: int) -> None:
        """Let files expire later; those that are gone stay gone."""
        if file_ids:
            scores = [part for file_id in file_ids for part in (expires_at_ms, file_id)]
            await self._ask("ZADD", self._expiry, "XX", *scores)

    async def usage(self, owner: str) -> Usage:
        """Return how many bytes the files of this owner have, and all."""
        own, total = await self._ask("HMGET", self._bytes, f"={owner}", "=")
        return Usage(int(own or 0), int(total or 0))

    def _keys(self, file: StoredFile) -> list[str]:
        return [self._files, self._expiry, self._bytes, self._of + file.owner]

    async def _ask(self, *command: Any) -> Any:
        try:
            return await self._scripts.command(self._files, *command)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("files", str(error)) from error
