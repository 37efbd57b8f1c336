"""Uploads a large file, and resumes after a broken connection.

The SHA-256 is computed first.  If you have stored that content already, nothing is sent; if an
earlier upload of it was interrupted, also in another process, this one continues it.

A service whose files are in S3 may offer an address there.  Then the content is sent straight to
S3, or to the service if that fails.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from client_sdk import errors, file_calls
from client_sdk.content import Content, OnProgress
from client_sdk.direct_upload import put_directly
from client_sdk.file_calls import FileInfo
from client_sdk.replicas import is_about_replica
from client_sdk.transport import Transport

#: A smaller file is sent in one request, in bytes: to hash it first would cost more.
LEAST_BYTES = 16 * 1024 * 1024
#: The most of one request, in bytes: a proxy may limit the size of a body or its time.
PART_BYTES = 512 * 1024 * 1024


class NotSupported(Exception):
    """The service is older, and cannot resume uploads."""


class ResumableUpload:
    """One upload of a file that can be read from any place."""

    def __init__(
        self, transport: Transport, path: Path | BinaryIO, *, on_progress: OnProgress | None
    ) -> None:
        self._transport = transport
        self._path = path
        self._on_progress = on_progress

    async def send(self, about: Mapping[str, str], *, expires_in_s: int | None) -> FileInfo:
        """Upload the file; raises NotSupported, QueueError, and the OSError of reading it."""
        async with _opened(self._path) as file:
            start = await asyncio.to_thread(file.tell)
            size, digest = await asyncio.to_thread(_look, file, start)
            call = file_calls.begin(
                {**about, "sha256": digest}, size_bytes=size, expires_in_s=expires_in_s
            )
            try:
                begun = await self._transport.send("", call, under="files")
            except errors.QueueError as error:
                if error.status in (404, 405):
                    raise NotSupported from error
                raise
            file_id = begun.id
            if not await self._directly(file, begun, start=start, size=size):
                await self._all(file, file_id, start=start, size=size, at=begun.offset)
        self._report(size, size)
        stored = await self._transport.send("", file_calls.describe(file_id), under="files")
        if (stored.size_bytes, stored.sha256) != (size, digest):
            await self._transport.send("", file_calls.delete(file_id), under="files")
            raise errors.BadMessage(
                f"expected {size} bytes to be stored with the SHA-256 {digest}, "
                f"got {stored.size_bytes} with {stored.sha256}"
            )
        return stored

    async def _directly(
        self, file: BinaryIO, begun: file_calls.Begun, *, start: int, size: int
    ) -> bool:
        """Send all of it to the storage, if the service offers that; say whether it has arrived."""
        if not begun.url or begun.offset:
            return False
        await asyncio.to_thread(file.seek, start)
        content = Content(
            _Part(file, size),  # type: ignore[arg-type]
            on_progress=lambda sent, _: self._report(sent, size),
        )
        if not await put_directly(self._transport, begun, content):
            # Perhaps only the service can reach the storage.
            return False
        complete = file_calls.complete(begun.id)
        try:
            while not await self._transport.send("", complete, under="files"):
                pass
        except errors.Conflict:
            return False
        return True

    async def _all(self, file: BinaryIO, file_id: str, *, start: int, size: int, at: int) -> None:
        transport, backoff = self._transport, self._transport.retry.backoff()
        while at < size:
            replica, before = transport.replicas.current, at
            try:
                await self._part(file, file_id, start=start, size=size, at=at)
                at = min(size, at + PART_BYTES)
                continue
            except errors.QueueError as error:
                lost = isinstance(error, errors.AnswerLost | errors.Conflict) or error.status == 423
                if not (error.transient or lost) or backoff.tries >= transport.retry.retries:
                    raise
                if is_about_replica(error):
                    transport.replicas.pass_over(replica)
            await asyncio.sleep(backoff.next_delay_s())
            at = await transport.send("", file_calls.offset(file_id), under="files")
            if at > before:
                backoff.reset()

    async def _part(self, file: BinaryIO, file_id: str, *, start: int, size: int, at: int) -> None:
        await asyncio.to_thread(file.seek, start + at)
        part = Content(
            _Part(file, min(PART_BYTES, size - at)),  # type: ignore[arg-type]
            on_progress=lambda sent, _: self._report(at + sent, size),
        )
        await self._transport.send("", file_calls.append(file_id, part, offset=at), under="files")

    def _report(self, done: int, size: int) -> None:
        if self._on_progress is not None:
            self._on_progress(done, size)


class _Part:
    """The next bytes of an open file, as a separate file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._first = file.tell()

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell() - self._first

    def seek(self, to: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            to += self._size
        return self._file.seek(self._first + to) - self._first

    def read(self, most: int = -1) -> bytes:
        left = self._size - self.tell()
        return self._file.read(left if most < 0 else min(most, left))


@asynccontextmanager
async def _opened(path: Path | BinaryIO) -> AsyncIterator[BinaryIO]:
    if not isinstance(path, Path):
        yield path
        return
    file = await asyncio.to_thread(path.open, "rb")
    try:
        yield file
    finally:
        await asyncio.to_thread(file.close)


def _look(file: BinaryIO, start: int) -> tuple[int, str]:
    """Return the size and the SHA-256 of the rest of a file."""
    file.seek(start)
    digest, size = hashlib.sha256(), 0
    while piece := file.read(1024 * 1024):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()
