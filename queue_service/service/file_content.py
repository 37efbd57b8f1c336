"""Reads a complete content from the folder or from S3."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from queue_service.service.file_errors import NoSuchFile
from queue_service.store.file_index import StoredFile
from queue_service.store.s3_contents import S3Contents

log = logging.getLogger(__name__)

#: How much of a file in the folder is read at once, in bytes.
PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class StoredContent:
    """One content.

    path: of the file in the folder; None in S3.  file: what the index says of it; None in the
    folder, where nothing needs it.
    """

    file_id: str
    path: Path | None
    file: StoredFile | None = None
    contents: S3Contents | None = None

    @classmethod
    def in_folder(cls, path: Path, file_id: str) -> "StoredContent":
        """Return a content in the folder."""
        return cls(file_id, path)

    @classmethod
    def in_s3(cls, contents: S3Contents, file: StoredFile) -> "StoredContent":
        """Return a content in S3."""
        return cls(file.id, None, file, contents)

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` to `stop`, by default to the end; raises NoSuchFile."""
        try:
            if self.path is not None:
                async for piece in _read(self.path, start, stop):
                    yield piece
                return
            assert self.contents is not None, "a content is in a folder or in S3"
            assert self.file is not None, "the index describes what is in S3"
            stop = self.file.size_bytes if stop is None else min(stop, self.file.size_bytes)
            async for piece in self.contents.read(self.file.content_id, start, stop):
                yield piece
        except OSError as error:
            log.error("The content of file %s cannot be read: %s", self.file_id, error)
            raise NoSuchFile(self.file_id) from error

    async def beginning(self, most_bytes: int) -> bytes:
        """Return the first bytes; raises NoSuchFile."""
        return b"".join([piece async for piece in self.pieces(0, most_bytes)])

    async def whole(self) -> bytes:
        """Return all bytes; the caller must know that they fit into memory."""
        return b"".join([piece async for piece in self.pieces()])

    async def copy_to(self, path: Path) -> None:
        """Write all bytes to a new file; raises NoSuchFile, or the OSError of that file."""
        file = await asyncio.to_thread(path.open, "xb")
        try:
            async for piece in self.pieces():
                await asyncio.to_thread(file.write, piece)
        finally:
            await asyncio.to_thread(file.close)

    async def address(self) -> str | None:
        """Return an address in S3 that anybody can read for some minutes; None in the folder."""
        if self.contents is None or self.file is None:
            return None
        return await self.contents.download_address(self.file.content_id)


async def _read(path: Path, start: int, stop: int | None) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        if start:
            await asyncio.to_thread(file.seek, start)
        left = stop - start if stop is not None else None
        while left is None or left > 0:
            most = PIECE_BYTES if left is None else min(PIECE_BYTES, left)
            piece = await asyncio.to_thread(file.read, most)
            if not piece:
                return
            left = left if left is None else left - len(piece)
            yield piece
    finally:
        await asyncio.to_thread(file.close)
