"""The contents of files: one plain file for each, in a folder that all replicas share.

    <folder>/incoming/<id>      an upload that is under way
    <folder>/complete/<xx>/<id> a complete file; <xx> are the last two characters of its id

A rename makes an upload complete, so nobody ever sees a part of it.  What a killed process leaves
in `incoming` is removed when nothing has written to it for a while.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

from queue_service.store.contents import Content

#: How much of an upload is gathered before a thread writes it, in bytes.
WRITE_BYTES = 1024 * 1024
#: How much of a content is read at once, in bytes.
READ_BYTES = 256 * 1024
#: How many ids are listed at once.
IDS_AT_ONCE = 500


class BadFileFolder(Exception):
    """The folder for files cannot be used."""


class FileFolder:
    """Contents by the id of their file.

    durable: whether a content is on disk, and not only in the system's cache, when it is complete.
    Ids come from this service and never from a client: they become names of files.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._incoming = path / "incoming"
        self._complete = path / "complete"
        self._durable = durable

    @property
    def base(self) -> Path:
        """The folder itself."""
        return self._path

    @property
    def local(self) -> "FileFolder":
        """Contents here are files of this machine."""
        return self

    @property
    def addresses(self) -> None:
        """Clients cannot reach the folder."""
        return None

    def prepare(self) -> None:
        """Create the folder; raises BadFileFolder."""
        try:
            for folder in (self._path, self._incoming, self._complete):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BadFileFolder(f"{self._path}: {error.strerror}") from error
        if not os.access(self._incoming, os.W_OK | os.X_OK):
            raise BadFileFolder(f"{self._path}: expected a folder that this process may write to")

    def writer(self, file_id: str, *, attempt: int = 0) -> "Writer":
        """Return what writes the content of a new file; each attempt writes to its own place."""
        incoming = self._incoming / (f"{file_id}-{attempt}" if attempt else file_id)
        return Writer(incoming, self.path(file_id), durable=self._durable)

    def path(self, file_id: str) -> Path:
        """Return where the content of a complete file is."""
        return self._complete / file_id[-2:] / file_id

    async def link(self, file_id: str, new_id: str) -> None:
        """Give a complete content a second name, which outlives the first; raises OSError."""
        await asyncio.to_thread(self._link, file_id, new_id)

    def _link(self, file_id: str, new_id: str) -> None:
        source, target = self.path(file_id), self.path(new_id)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            # Not every file system has links, and each has a most of them.
            incoming = self._incoming / new_id
            try:
                shutil.copyfile(source, incoming)
                incoming.rename(target)
            except BaseException:
                incoming.unlink(missing_ok=True)
                raise
        if self._durable:
            _sync_folder(target.parent)

    def adopt(self, path: Path, file_id: str) -> Content:
        """Make a file of this disk the content of a file; raises OSError.  Takes long."""
        target = self.path(file_id)
        with path.open("rb") as file:
            digest, size = hashlib.file_digest(file, "sha256"), file.tell()
            if self._durable:
                os.fsync(file.fileno())
        target.parent.mkdir(mode=0o700, exist_ok=True)
        path.rename(target)
        # A sweep must not take it for an old one that the index lacks.
        os.utime(target)
        if self._durable:
            _sync_folder(target.parent)
        return Content(size, digest.hexdigest())

    async def read(self, file_id: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes of a content from `start` to `stop`; raises FileNotFoundError."""
        file = await asyncio.to_thread(self.path(file_id).open, "rb")
        try:
            if start:
                await asyncio.to_thread(file.seek, start)
            left = stop - start
            while left > 0:
                piece = await asyncio.to_thread(file.read, min(READ_BYTES, left))
                if not piece:
                    return
                left -= len(piece)
                yield piece
        finally:
            await asyncio.to_thread(file.close)

    async def remove(self, file_id: str) -> None:
        """Remove a content; one that is not there is no error."""
        await asyncio.to_thread(self.path(file_id).unlink, missing_ok=True)

    def free_bytes(self) -> int:
        """Return how much more the disk takes; raises OSError."""
        found = os.statvfs(self._path)
        return found.f_bavail * found.f_frsize

    async def ids(self, *, older_than_s: float) -> AsyncIterator[list[str]]:
        """Yield the ids of the contents that were completed before this time, some at a time."""
        before = time.time() - older_than_s
        found = await asyncio.to_thread(lambda: list(self._ids(before)))
        for start in range(0, len(found), IDS_AT_ONCE):
            yield found[start : start + IDS_AT_ONCE]

    def _ids(self, before: float) -> Iterator[str]:
        for folder in self._complete.iterdir():
            for path in folder.iterdir():
                if _changed_at(path) < before:
                    yield path.name

    async def remove_stalled(self, *, older_than_s: float) -> int:
        """Remove uploads that nothing has written to for this time; return how many."""
        return await asyncio.to_thread(self._remove_stalled, time.time() - older_than_s)

    def _remove_stalled(self, before: float) -> int:
        count = 0
        for path in self._incoming.iterdir():
            if _changed_at(path) < before:
                path.unlink(missing_ok=True)
                count += 1
        return count


class Writer:
    """Writes one content; `finish` makes it complete, and leaving the block before removes it.

    Threads do the writing, so that a slow disk delays nobody else.  Every method raises OSError,
    for example when the disk is full.
    """

    def __init__(self, incoming: Path, complete: Path, *, durable: bool) -> None:
        self._incoming = incoming
        self._complete = complete
        self._durable = durable
        self._file: IO[bytes] | None = None
        self._gathered = bytearray()
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    async def __aenter__(self) -> "Writer":
        self._file = await asyncio.to_thread(_create, self._incoming)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._file is not None:
            # Shielded: a client that goes away cancels its request, and the rest must not stay.
            await asyncio.shield(asyncio.to_thread(self._abandon))

    async def write(self, piece: bytes) -> None:
        """Append a piece."""
        self._gathered += piece
        self.size_bytes += len(piece)
        if len(self._gathered) >= WRITE_BYTES:
            gathered, self._gathered = self._gathered, bytearray()
            await asyncio.to_thread(self._append, gathered)

    async def finish(self) -> Content:
        """Make the content complete."""
        await asyncio.shield(asyncio.to_thread(self._finish))
        return Content(self.size_bytes, self._hash.hexdigest())

    def _append(self, gathered: bytearray) -> None:
        assert self._file is not None, "write before the block"
        self._hash.update(gathered)
        self._file.write(gathered)

    def _finish(self) -> None:
        assert self._file is not None, "finish before the block"
        self._append(self._gathered)
        if self._durable:
            os.fsync(self._file.fileno())
        self._file.close()
        self._complete.parent.mkdir(mode=0o700, exist_ok=True)
        self._incoming.rename(self._complete)
        if self._durable:
            _sync_folder(self._complete.parent)
        self._file = None

    def _abandon(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            # A full disk may refuse what the system still has of it.
            with contextlib.suppress(OSError):
                file.close()
            self._incoming.unlink(missing_ok=True)


def _create(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    # Unbuffered would write in parts; a buffer passes pieces of this size on as they are.
    return os.fdopen(descriptor, "wb")


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _changed_at(path: Path) -> float:
    try:
        # A link to an old content is new: that changes the status of the file, not its contents.
        found = path.stat()
        return max(found.st_mtime, found.st_ctime)
    except FileNotFoundError:
        # Another replica was faster.
        return time.time()


def new_file_id(prefix: str = "file_") -> str:
    """Return an id that nobody can guess."""
    return prefix + secrets.token_hex(16)
