"""Contents that arrive in several requests, in a folder: one file for each.

    <folder>/resumable/<id>

The size of the file says how much has arrived, so a client may resume at any replica after any
process was killed.
"""

import asyncio
import fcntl
import os
import time
from pathlib import Path
from typing import IO

from queue_service.store.contents import Busy, Content
from queue_service.store.file_folder import FileFolder

#: How much is gathered before it is written, in bytes.
WRITE_BYTES = 1024 * 1024


class PartialsInFolder:
    """Partial contents in a folder."""

    def __init__(self, folder: FileFolder) -> None:
        self._folder = folder
        self._path = folder.base / "resumable"

    @property
    def direct(self) -> None:
        """Clients cannot reach the folder."""
        return None

    async def create(self, file_id: str) -> None:
        """Begin a content; raises OSError."""

        def make() -> None:
            self._path.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(self._path / file_id, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

        await asyncio.to_thread(make)

    async def size_bytes(self, file_id: str) -> int | None:
        """Return how much has arrived; None for a content that was not begun, or has ended."""
        try:
            return (await asyncio.to_thread((self._path / file_id).stat)).st_size
        except FileNotFoundError:
            return None

    def appending(self, file_id: str) -> "AppendingToFile":
        """Return a block that appends; entering it raises Busy, or FileNotFoundError."""
        return AppendingToFile(self._path / file_id)

    async def complete(self, file_id: str, size_bytes: int) -> Content:
        """Make it a complete content; raises FileNotFoundError, or another OSError."""
        content = await asyncio.to_thread(self._folder.adopt, self._path / file_id, file_id)
        assert content.size_bytes == size_bytes, "nothing is appended after the last byte"
        return content

    async def remove(self, file_id: str) -> None:
        """Remove a content; one that is not there is no error."""
        await asyncio.to_thread((self._path / file_id).unlink, missing_ok=True)

    async def remove_stalled(self, *, older_than_s: float) -> int:
        """Remove contents to which nothing was appended for this time; return how many."""

        def remove() -> int:
            before, count = time.time() - older_than_s, 0
            for path in self._path.iterdir() if self._path.exists() else ():
                try:
                    if path.stat().st_mtime < before:
                        path.unlink()
                        count += 1
                except FileNotFoundError:
                    # Another replica has removed it, or it has just been completed.
                    continue
            return count

        return await asyncio.to_thread(remove)


class AppendingToFile:
    """Appends to one content in a folder.  Every method raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._gathered = bytearray()
        self.size_bytes = 0

    async def __aenter__(self) -> "AppendingToFile":
        self._file, self.size_bytes = await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *error: object) -> None:
        # Also what arrived before the connection broke: the client resumes after it.  Shielded: a
        # client that goes away cancels its request.
        await asyncio.shield(asyncio.to_thread(self._close))

    async def write(self, piece: bytes) -> None:
        """Append a piece."""
        self._gathered += piece
        self.size_bytes += len(piece)
        if len(self._gathered) >= WRITE_BYTES:
            gathered, self._gathered = self._gathered, bytearray()
            await asyncio.to_thread(self._write, gathered)

    def _open(self) -> tuple[IO[bytes], int]:
        file = self._path.open("r+b", buffering=0)
        try:
            # The lock ends with the process, also when that is killed.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise Busy from None
        return file, file.seek(0, os.SEEK_END)

    def _write(self, gathered: bytearray) -> None:
        assert self._file is not None, "write before the block"
        view = memoryview(gathered)
        while view:
            view = view[self._file.write(view) :]

    def _close(self) -> None:
        assert self._file is not None, "the end of a block that has begun"
        with self._file:
            self._write(self._gathered)
