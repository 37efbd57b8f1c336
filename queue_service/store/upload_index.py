"""The index of unfinished uploads: whose they are, and how much room they have reserved.

| key                           | type       | holds                                         |
|-------------------------------|------------|-----------------------------------------------|
| `<prefix>:{*files}:uploads:<owner>` | hash | id -> what is known of an unfinished upload   |
| `<prefix>:{*files}:heard`     | sorted set | `<id> <owner>` -> last progress, ms since 1970 |
| `<prefix>:{*files}:reserved`  | hash       | id -> announced and arrived bytes             |
| `<prefix>:{*files}:bytes`     | hash       | `+` -> announced bytes of all uploads,        |
|                               |            | `+<owner>` -> of one owner's,                 |
|                               |            | `-` -> how many have yet to arrive            |

An upload reserves all the bytes that it has announced, until it ends: what was accepted also fits.
An upload is kept as long as it makes progress.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.scripts import Scripts


class Begun(StrEnum):
    """The outcome of beginning an upload."""

    OK = "ok"
    FULL = "full"  # all files together have reached their limit
    SHARE = "share"  # this owner's have reached theirs
    MANY = "many"  # this owner has too many unfinished uploads


@dataclass(frozen=True, slots=True)
class Reservation:
    """An upload that is to begin.  text: what is known of it."""

    id: str
    owner: str
    text: str
    size_bytes: int


class UploadIndex:
    """The uploads of one Redis and key prefix; every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts, *, key_prefix: str) -> None:
        self._scripts = scripts
        base = f"{key_prefix}:{{*files}}"
        self._of, self._heard = f"{base}:uploads:", f"{base}:heard"
        self._bytes, self._reserved = f"{base}:bytes", f"{base}:reserved"

    async def begin(
        self, upload: Reservation, *, now_ms: int, limit_bytes: int, most: int
    ) -> Begun:
        """Note an upload, unless a limit is reached.

        limit_bytes: of all files, complete and announced; 0 means no limit.  most: uploads of one
        owner.
        """
        about = [upload.id, upload.owner, upload.text, upload.size_bytes]
        arguments = [*about, now_ms, limit_bytes, most]
        reply = await self._scripts.ask("begin_upload", self._keys(upload.owner), arguments)
        return Begun(reply.decode())

    async def of(self, owner: str) -> dict[str, str]:
        """Return what was noted of this owner's uploads, by id."""
        reply = await self._ask("HGETALL", self._of + owner)
        pairs = (
            reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        )
        return {name.decode(): text.decode() for name, text in pairs}

    async def find(self, owner: str, upload_id: str) -> str | None:
        """Return what was noted of one upload."""
        text = await self._ask("HGET", self._of + owner, upload_id)
        return None if text is None else str(text.decode())

    async def progress(
        self, owner: str, upload_id: str, *, arrived_bytes: int, now_ms: int
    ) -> None:
        """Note how much has arrived."""
        keys = [self._heard, self._bytes, self._reserved]
        await self._scripts.ask("progress_upload", keys, [upload_id, owner, arrived_bytes, now_ms])

    async def end(self, owner: str, upload_id: str, *, heard_by_ms: int | None = None) -> bool:
        """Forget an upload; say whether it was noted.

        heard_by_ms: only if it has made no progress since.
        """
        arguments = [upload_id, owner, "" if heard_by_ms is None else heard_by_ms]
        return bool(await self._scripts.ask("end_upload", self._keys(owner), arguments))

    async def stalled(self, heard_by_ms: int, *, count: int) -> Sequence[tuple[str, str]]:
        """Return uploads that have made no progress since: owner and id."""
        reply = await self._ask(
            "ZRANGEBYSCORE", self._heard, "-inf", heard_by_ms, "LIMIT", 0, count
        )
        found = [member.decode().partition(" ") for member in reply]
        return [(owner, upload_id) for upload_id, _, owner in found]

    def _keys(self, owner: str) -> list[str]:
        return [self._of + owner, self._heard, self._bytes, self._reserved]

    async def _ask(self, *command: Any) -> Any:
        try:
            return await self._scripts.command(self._heard, *command)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("files", str(error)) from error
