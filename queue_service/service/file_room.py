"""Whether there is room for a file: on the disk, below the total limit, in the owner's share."""

import asyncio
from collections import Counter

from queue_service.service.file_errors import FilesFull
from queue_service.service.file_terms import FileLimits, FileOwner
from queue_service.store.contents import Contents
from queue_service.store.file_index import Added, FileIndex, Usage

#: The part that one owner may have of what others leave; add_file.lua has it too.
SHARE = 0.8

_MB = 1024 * 1024


class FileRoom:
    """How much space files may still take, as one process sees it."""

    def __init__(self, index: FileIndex, contents: Contents, limits: FileLimits) -> None:
        self._index = index
        self._contents = contents
        self._limits = limits
        #: Bytes of the uploads under way in this process, by owner.
        self._incoming: Counter[str] = Counter()

    def count(self, owner: FileOwner, more_bytes: int) -> None:
        """Count bytes of an upload under way, or with a negative number no longer."""
        self._incoming[owner.name] += more_bytes
        if not self._incoming[owner.name]:
            del self._incoming[owner.name]

    async def check(self, owner: FileOwner, more_bytes: int) -> None:
        """Raise FilesFull when the disk or the limits have no room for this much more."""
        limits, usage = self._limits, await self._index.usage(owner.name)
        own = usage.own_bytes + self._incoming[owner.name] + more_bytes
        await self._check_disk(usage, own, more_bytes)
        if not limits.all_bytes:
            return
        total = usage.total_bytes + self._incoming.total() + more_bytes
        if total > limits.all_bytes:
            raise self.full(Added.FULL)
        if own > (limits.all_bytes - (total - own)) * SHARE:
            raise self.full(Added.SHARE)

    async def check_disk(self, owner: FileOwner, more_bytes: int = 0) -> None:
        """Raise FilesFull when the disk has no room for this much more, whatever the limits say."""
        if self._contents.local is not None:
            usage = await self._index.usage(owner.name)
            own = usage.own_bytes + self._incoming[owner.name] + more_bytes
            await self._check_disk(usage, own, more_bytes)

    async def _check_disk(self, usage: Usage, own: int, more_bytes: int) -> None:
        if (local := self._contents.local) is None:
            return
        reserve = self._limits.free_bytes
        free = await asyncio.to_thread(local.free_bytes)
        # What the disk takes when all uploads that were accepted, and this one, have arrived.
        left = free - reserve - usage.unarrived_bytes - more_bytes
        if left < 0:
            raise FilesFull(
                f"the disk of the files has {free // _MB} MiB free, of which "
                f"{reserve // _MB} MiB are reserved, and {usage.unarrived_bytes // _MB} MiB are "
                "for unfinished uploads"
            )
        # What the disk still takes, and what this owner has of it already.
        if own > (left + own) * SHARE:
            raise FilesFull("your files have their share of the disk")

    def full(self, added: Added) -> FilesFull:
        """Return the error of a file that the index has refused."""
        limit = f"PENSTOCK_FILES_TOTAL_MB is {self._limits.all_bytes // _MB}"
        if added is Added.SHARE:
            return FilesFull(f"your files have their share of it ({limit})")
        return FilesFull(f"all files together have reached their limit ({limit})")
