"""The index of files: who owns them, what they are, and until when they are kept.

| key                           | type       | holds                                      |
|-------------------------------|------------|--------------------------------------------|
| `<prefix>:{*files}:files`     | hash       | file id -> what is known of it, JSON       |
| `<prefix>:{*files}:expiry`    | sorted set | file id -> when it expires, ms since 1970  |
| `<prefix>:{*files}:bytes`     | hash       | `=<owner>` -> bytes of its files; `=` -> of all |
| `<prefix>:{*files}:of:<owner>`| sorted set | file id -> its number, in order of creation|
| `<prefix>:{*files}:shared`    | hash       | content -> how many further files have it  |
| `<prefix>:{*files}:sums:<owner>` | hash    | SHA-256 -> the last file of this owner with it |

The number is a counter in the field `#number` of `bytes`: times may be equal.  A file exists while
it is in the index.  Its content is written before that, and removed after it has left.

What unfinished uploads have reserved (upload_index.py) counts like files.

A content has the id of its first file.  In a folder every file has a content of its own, because a
file system knows second names; in S3, which does not, files may share one (`StoredFile.content`).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file.

    owner: see service/file_terms.py.  sha256: of the content, hexadecimal.  Times are since 1970.
    content: whose content it shares; "" if it has its own.
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
    content: str = ""

    @property
    def content_id(self) -> str:
        """The id of its content."""
        return self.content or self.id


class Added(StrEnum):
    """The outcome of adding a file."""

    OK = "ok"
    FULL = "full"  # all files together have reached their limit
    SHARE = "share"  # this owner's have reached theirs
    GONE = "gone"  # the content to share is gone


class Removed(IntEnum):
    """The outcome of removing a file; false if there was none."""

    NOTHING = 0
    LAST = 1  # nothing else has its content
    SHARED = 2  # another file still has its content


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of one owner's files, and of all, with those that unfinished uploads have reserved.

    unarrived_bytes: what all uploads have reserved and not sent yet.
    """

    own_bytes: int
    total_bytes: int
    unarrived_bytes: int = 0


class FileIndex:
    """The index of one Redis and key prefix; every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts, *, key_prefix: str) -> None:
        self._scripts = scripts
        base = f"{key_prefix}:{{*files}}"
        self._files, self._expiry = f"{base}:files", f"{base}:expiry"
        self._bytes, self._of = f"{base}:bytes", f"{base}:of:"
        self._shared = f"{base}:shared"
        self._sums = f"{base}:sums:"
        self._reserved = f"{base}:reserved"

    async def add(self, file: StoredFile, *, limit_bytes: int) -> Added:
        """Add a file, unless the limit of all files or of this owner is reached.

        limit_bytes: of all files; 0 means no limit.  Adding it again changes nothing.
        """
        arguments = [
            file.id,
            file.owner,
            _text(file),
            file.expires_at_ms,
            file.size_bytes,
            limit_bytes,
            file.content,
            file.sha256,
        ]
        keys = [*self._keys(file), self._reserved]
        return Added((await self._scripts.ask("add_file", keys, arguments)).decode())

    async def remove(self, file: StoredFile) -> Removed:
        """Remove a file, and say whether its content is still needed."""
        keys, arguments = (
            self._keys(file),
            [file.id, file.owner, file.size_bytes, file.content, file.sha256],
        )
        return Removed(await self._scripts.ask("remove_file", keys, arguments))

    async def are_needed(self, content_ids: Sequence[str]) -> list[bool]:
        """Say of each content whether a file has it."""
        if not content_ids:
            return []
        own = await self._ask("HMGET", self._files, *content_ids)
        # Afterwards: a file that is removed in between counts as one that was there.
        shared = await self._ask("HMGET", self._shared, *content_ids)
        pairs = zip(own, shared, strict=True)
        return [text is not None or count is not None for text, count in pairs]

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

    async def with_sum(self, owner: str, sha256: str) -> StoredFile | None:
        """Return a file of this owner with this content, if there is one."""
        file_id = await self._ask("HGET", self._sums + owner, sha256)
        if file_id is None:
            return None
        (file,) = await self.find([file_id.decode()])
        return file if file and (file.owner, file.sha256) == (owner, sha256) else None

    async def usage(self, owner: str) -> Usage:
        """Return how many bytes the files of this owner have, and all."""
        fields = (f"={owner}", f"+{owner}", "=", "+", "-")
        reply = await self._ask("HMGET", self._bytes, *fields)
        own, own_reserved, total, reserved, unarrived = (int(found or 0) for found in reply)
        return Usage(own + own_reserved, total + reserved, unarrived)

    def _keys(self, file: StoredFile) -> list[str]:
        owner = file.owner
        keys = [self._files, self._expiry, self._bytes, self._of + owner, self._shared]
        return [*keys, self._sums + owner]

    async def _ask(self, *command: Any) -> Any:
        try:
            return await self._scripts.command(self._files, *command)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("files", str(error)) from error


def _text(file: StoredFile) -> str:
    """Return a file as JSON; one with a content of its own as older versions read it."""
    fields = asdict(file)
    if not file.content:
        del fields["content"]
    return json.dumps(fields)
