"""One upload of a file."""

import logging
import time
from collections.abc import Awaitable, Callable

from queue_service.service.file_errors import FilesFull, FileTooBig
from queue_service.service.file_room import FileRoom
from queue_service.service.file_terms import About, FileLimits, FileOwner
from queue_service.store.contents import ContentWriter, Place
from queue_service.store.file_index import StoredFile

log = logging.getLogger(__name__)

#: How often an upload checks for room, in bytes.
CHECK_EVERY_BYTES = 16 * 1024 * 1024


class Upload:
    """One upload: a block that receives pieces, and adds the file at its end.

    Leaving the block without `finish` leaves nothing behind.
    """

    def __init__(
        self,
        room: FileRoom,
        limits: FileLimits,
        writer: ContentWriter,
        owner: FileOwner,
        *,
        place: Place,
        add: Callable[[StoredFile], Awaitable[None]],
    ) -> None:
        """add: adds the file to the index, or removes its content."""
        self.file_id = place.file_id
        self._is_ours = place.attempt > 0
        self._room = room
        self._limits = limits
        self._owner = owner
        self._writer = writer
        self._add = add
        self._counted = 0

    async def __aenter__(self) -> "Upload":
        try:
            await self._writer.__aenter__()
        except OSError as error:
            raise no_disk(error) from error
        return self

    async def __aexit__(self, *error: object) -> None:
        self._room.count(self._owner, -self._counted)
        await self._writer.__aexit__(*error)

    def check_size(self, size_bytes: int) -> None:
        """Raise FileTooBig when a file of this size is not accepted."""
        if size_bytes > self._limits.file_bytes and not self._is_ours:
            raise FileTooBig(size_bytes, self._limits.file_bytes)

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises FileTooBig or FilesFull."""
        size = self._writer.size_bytes + len(piece)
        self.check_size(size)
        if size - self._counted >= CHECK_EVERY_BYTES:
            self._room.count(self._owner, size - self._counted)
            self._counted = size
            await self._room.check(self._owner, 0)
        try:
            await self._writer.write(piece)
        except OSError as error:
            raise no_disk(error) from error

    async def finish(self, about: About, owner: FileOwner | None = None) -> StoredFile:
        """Add the file, to another owner if given; after FilesFull nothing is left of it."""
        try:
            content = await self._writer.finish()
        except OSError as error:
            raise no_disk(error) from error
        file = described(
            self.file_id,
            owner or self._owner,
            about,
            size_bytes=content.size_bytes,
            sha256=content.sha256,
            retention_s=self._limits.retention_s,
        )
        await self._add(file)
        return file


def described(
    file_id: str, owner: FileOwner, about: About, *, size_bytes: int, sha256: str, retention_s: int
) -> StoredFile:
    """Return a file that exists from now on."""
    created_at_ms = now_ms()
    return StoredFile(
        id=file_id,
        owner=owner.name,
        filename=about.filename,
        purpose=about.purpose,
        content_type=about.content_type,
        size_bytes=size_bytes,
        sha256=sha256,
        created_at_ms=created_at_ms,
        expires_at_ms=created_at_ms + (about.expires_in_s or retention_s) * 1000,
    )


def no_disk(error: OSError) -> FilesFull:
    """Return what a client sees of an error of the disk, and log it."""
    log.error("A file could not be written: %s", error)
    return FilesFull(f"the content cannot be written ({error.strerror or 'input/output error'})")


def now_ms() -> int:
    """Return the time, ms since 1970."""
    return int(time.time() * 1000)
