"""Reads a complete content, wherever it is kept."""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from queue_service.service.file_errors import NoSuchFile
from queue_service.store.contents import Contents
from queue_service.store.file_index import StoredFile

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredContent:
    """One content.

    path: of the file, where contents are files of this machine.  file: what the index says of it,
    elsewhere; the path needs no index.
    """

    file_id: str
    contents: Contents
    path: Path | None = None
    file: StoredFile | None = None

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` to `stop`, by default to the end; raises NoSuchFile."""
        size = sys.maxsize if self.file is None else self.file.size_bytes
        stop = size if stop is None else min(stop, size)
        try:
            async for piece in self.contents.read(self._content_id, start, stop):
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
        """Return an address that anybody can read for some minutes; None where there are none."""
        addresses = self.contents.addresses
        return None if addresses is None else await addresses.download_address(self._content_id)

    @property
    def _content_id(self) -> str:
        return self.file_id if self.file is None else self.file.content_id
