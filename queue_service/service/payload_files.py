"""The payload files of one service: contents that are too large for Redis.

Each belongs to one entry or dead letter, which names it (store/payload.py), and goes with it:

* `store` and `link` make a file that nothing names yet.  The put of its entry follows at once, and
  then `settle`.  What dies in between is removed when the file expires (files.py).
* The scripts count by how many each is named, and list those that nothing names any more; `run`
  removes them.
"""

import asyncio
import contextlib
import copy
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import FrameTooBig, ServiceError
from queue_service.service.file_content import StoredContent
from queue_service.service.file_errors import FilesFull, NoSuchFile
from queue_service.service.file_terms import OF_ENTRIES, About, FileOwner
from queue_service.service.file_upload import Upload
from queue_service.service.files import UNHELD_S, Files
from queue_service.store.entry import Entry, NewEntry
from queue_service.store.file_holders import FileHolders
from queue_service.store.file_index import StoredFile
from queue_service.store.payload import PAYLOAD_ID, FileOfEntry, payload_of
from queue_service.store.rules import Limits
from queue_service.store.ticket import Submission

log = logging.getLogger(__name__)

#: How many unneeded files are removed in one step.
STEP = 100
#: The pause after a failure, in seconds.
PAUSE_S = 5.0
#: The type of a content that nobody named one for.
BYTES = "application/octet-stream"

Put = TypeVar("Put", NewEntry, Submission)


class PayloadFiles:
    """The payload files of one service.

    bell: rings when some are not needed any more.
    """

    def __init__(
        self, files: Files, holders: FileHolders, bell: Doorbell, *, service: str, incarnation: int
    ) -> None:
        self._files = files
        self._holders = holders
        self._bell = bell
        self._owner = FileOwner(f"{OF_ENTRIES}{service}:{incarnation}")
        #: Drops results that were read until their files have that many bytes; returns how many.
        self.drop_read: Callable[[int], Awaitable[int]] = _drop_none

    @property
    def owner(self) -> FileOwner:
        """The owner of the payload files."""
        return self._owner

    @property
    def are_kept(self) -> bool:
        """Whether this process keeps files."""
        return self._files.are_kept

    async def store(
        self,
        pieces: AsyncIterable[bytes],
        *,
        limit_bytes: int,
        content_type: str = "",
        filename: str = "",
        announced_bytes: int | None = None,
        is_payload: bool = True,
    ) -> FileOfEntry:
        """Store a content as it arrives, for an entry that is put next.

        Raises FrameTooBig above the limit, FileTooBig, FilesFull, or what the pieces raise; then
        nothing is left of it.
        """
        if announced_bytes is not None and announced_bytes > limit_bytes:
            raise FrameTooBig(announced_bytes, limit_bytes)
        size = 0
        try:
            async with await self._begin(announced_bytes) as upload:
                async for piece in pieces:
                    size += len(piece)
                    if size > limit_bytes:
                        raise FrameTooBig(None, limit_bytes)
                    await upload.write(piece)
                about = about_payload(content_type, filename)
                stored = await upload.finish(about)
        except FilesFull:
            # The pieces have gone; the next attempt may find room.
            if size:
                await self._free(size)
            raise
        return _of_entry(stored, is_payload=is_payload)

    async def _begin(self, announced_bytes: int | None) -> Upload:
        """Begin an upload.  If there is no room, results that were read make some."""
        owner = self._owner
        try:
            return await self._files.upload(
                owner, announced_bytes=announced_bytes, prefix=PAYLOAD_ID
            )
        except FilesFull:
            if not await self._free(announced_bytes or 1):
                raise
        return await self._files.upload(owner, announced_bytes=announced_bytes, prefix=PAYLOAD_ID)

    async def _free(self, size_bytes: int) -> bool:
        """Drop results that were read, with their files; say whether there were any."""
        try:
            freed = await self.drop_read(size_bytes)
            if freed:
                await self.remove_unneeded()
        except (ServiceError, OSError) as error:
            log.warning("Results that were read are not dropped now: %s", error)
            return False
        return freed > 0

    async def adopt(self, upload: Upload, *, content_type: str) -> FileOfEntry:
        """End an upload that began with PAYLOAD_ID, for an entry that is put next.

        Raises FilesFull; then nothing is left of it.
        """
        about = about_payload(content_type)
        return _of_entry(await upload.finish(about, self._owner), is_payload=True)

    async def link(self, owner: FileOwner, file_id: str) -> FileOfEntry:
        """Give an upload's content to an entry that is put next; raises NoSuchFile or FilesFull.

        The upload may then be deleted, or expire.
        """
        upload = await self._files.find(owner, file_id)
        linked = await self._files.link(upload, self._owner, PAYLOAD_ID)
        return _of_entry(linked, is_payload=False)

    async def offload(self, entry: Put, limits: Limits) -> Put:
        """Return the entry with its data in a file, if that is too much for Redis.

        Raises FrameTooBig for more than the queue takes, and what `store` raises.
        """
        size = len(entry.data) if (file := payload_of(entry.files)) is None else file.size_bytes
        if size > limits.payload_bytes:
            raise FrameTooBig(size, limits.payload_bytes)
        if len(entry.data) <= limits.stored_bytes:
            return entry
        file = await self.store_bytes(entry.data, limits, content_type=entry.content_type)
        return replace(entry, data=b"", files=(file, *entry.files))

    async def store_bytes(
        self, data: bytes, limits: Limits, *, content_type: str = ""
    ) -> FileOfEntry:
        """Store a payload that is in memory already; raises as `store` does."""

        async def pieces() -> AsyncIterator[bytes]:
            yield data

        return await self.store(
            pieces(),
            limit_bytes=limits.payload_bytes,
            content_type=content_type,
            announced_bytes=len(data),
        )

    async def settle(self, files: Sequence[FileOfEntry]) -> None:
        """Remove those of these files that no entry names: it was not put, or was put before."""
        if not files:
            return
        ids = [file.id for file in files]
        # Otherwise they are removed when they expire.
        with contextlib.suppress(ServiceError, OSError):
            are_held = await self._holders.are_held(ids)
            unnamed = [one for one, held in zip(ids, are_held, strict=True) if not held]
            await self._files.remove(unnamed)

    async def find(self, file_id: str) -> FileOfEntry:
        """Return a file that an entry of this service names; raises NoSuchFile for any other."""
        if not file_id.startswith(PAYLOAD_ID):
            raise NoSuchFile(file_id)
        (file,) = await self._files.find_any([file_id])
        if file is None or file.owner != self._owner.name:
            raise NoSuchFile(file_id)
        (is_held,) = await self._holders.are_held([file_id])
        if not is_held:
            raise NoSuchFile(file_id)
        return _of_entry(file, is_payload=False)

    async def made_by_worker(self, file_id: str) -> FileOfEntry:
        """Return a file of this service's entries, even if nothing names it yet.

        Raises NoSuchFile.  The store decides whether it is free to be added as an artifact.
        """
        (file,) = await self._files.find_any([file_id])
        if file is None or file.owner != self._owner.name:
            raise NoSuchFile(file_id)
        return _of_entry(file, is_payload=False)

    async def uploaded(self, file_id: str) -> FileOfEntry:
        """Return a file that a worker has stored as its result, and that nothing names yet.

        Raises NoSuchFile for any other: two entries never name one file.
        """
        (file,) = await self._files.find_any([file_id])
        if file is None or file.owner != self._owner.name:
            raise NoSuchFile(file_id)
        (is_held,) = await self._holders.are_held([file_id])
        if is_held:
            raise NoSuchFile(file_id)
        return _of_entry(file, is_payload=True)

    async def content(self, file: FileOfEntry) -> StoredContent:
        """Return a content; raises NoSuchFile when it is not there."""
        return await self._files.content(file.id)

    async def read(self, file: FileOfEntry) -> bytes:
        """Return a whole content; raises NoSuchFile.  The caller knows that it fits into memory."""
        return await (await self.content(file)).whole()

    async def beginning(self, file: FileOfEntry, most_bytes: int) -> bytes:
        """Return the first bytes of a content; raises NoSuchFile."""
        return await (await self.content(file)).beginning(most_bytes)

    async def with_beginning(self, entry: Entry, most_bytes: int) -> Entry:
        """Return an entry with so much of its payload as its data, wherever the payload is."""
        file = entry.payload_file
        if file is None:
            return entry
        beginning = copy.copy(entry)
        beginning.data = await self.beginning(file, most_bytes)
        return beginning

    async def run(self) -> None:
        """Remove what is not needed any more, until cancelled.

        Every process does: doing it twice changes nothing, and a killed one needs no successor.
        """
        if not self.are_kept:
            return
        while True:
            rings = self._bell.rings
            try:
                await self.remove_unneeded()
            except (ServiceError, OSError) as error:
                log.warning("Files that are not needed are not removed now: %s", error)
                await asyncio.sleep(PAUSE_S)
                continue
            await self._bell.wait(rings)

    async def remove_unneeded(self) -> None:
        """Remove what is not needed any more."""
        while ids := await self.find_unneeded():
            # The content goes first, so that a killed process leaves what another one finds.
            await self._files.remove(ids)
            await self._holders.forget(ids)

    async def used_bytes(self) -> int:
        """Return how many bytes the files of all entries have."""
        return await self._files.used_bytes(self._owner)

    async def find_unneeded(self) -> list[str]:
        """Return some files that are not needed any more."""
        return await self._holders.unneeded(count=STEP)

    async def remove_all(self) -> None:
        """Remove every file: the service and its entries are gone."""
        if self.are_kept:
            await self._files.remove_all_of(self._owner)


def about_payload(content_type: str, filename: str = "") -> About:
    """Return the description of a file that an entry is to name soon."""
    return About(filename, "payload", content_type or BYTES, expires_in_s=UNHELD_S)


async def _drop_none(_: int) -> int:
    return 0


def _of_entry(file: StoredFile, *, is_payload: bool) -> FileOfEntry:
    return FileOfEntry(
        file.id, file.size_bytes, file.sha256, file.content_type, file.filename, is_payload
    )
