"""A content that is sent in pieces: from a file, an open file, or an iterator."""

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from client_sdk import errors

#: What can be sent in pieces.
Pieces = Path | BinaryIO | Iterable[bytes] | AsyncIterable[bytes]
#: A path.
AnyPath = str | os.PathLike[str]
#: Called with the bytes so far, and the bytes in total, None if unknown.
OnProgress = Callable[[int, int | None], None]

#: How much is read and sent at once, in bytes.
PIECE_BYTES = 1024 * 1024
#: A receiver that takes nothing for this long, in seconds, is given up.
STALL_S = 60.0
#: How long the receiver may take after the last piece, in seconds: it may write all of it to disk.
ANSWER_S = 180.0


class Content:
    """What one call sends.  A file is read again from its start if the call is repeated.

    size_bytes: None if unknown.  sent_bytes, sha256: of the last attempt, after its last piece.
    failure: why the content could not be read, if that ended the call.
    """

    def __init__(self, pieces: Pieces, *, on_progress: OnProgress | None = None) -> None:
        """Raises BadParameter for what is no content, and OSError for a file that is not there."""
        self.size_bytes: int | None = None
        self.sent_bytes = 0
        self.sha256 = ""
        self.failure: Exception | None = None
        self._pieces = pieces
        self._on_progress = on_progress
        self._has_begun = False
        self._repeats = False
        self._start = 0
        if isinstance(pieces, Path):
            found = pieces.stat()
            if stat.S_ISDIR(found.st_mode):
                raise errors.BadParameter(f"expected a file, {pieces} is a folder")
            if stat.S_ISREG(found.st_mode):
                self.size_bytes, self._repeats = found.st_size, True
        elif _is_file(pieces):
            if pieces.seekable():
                self._start = pieces.tell()
                self.size_bytes = pieces.seek(0, os.SEEK_END) - self._start
                pieces.seek(self._start)
                self._repeats = True
        elif not isinstance(pieces, Iterable | AsyncIterable):
            raise TypeError(f"expected a path, a file or an iterator, got {type(pieces).__name__}")

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be read again from its start."""
        return self._repeats

    @property
    def can_be_sent(self) -> bool:
        """False if it was sent, in part at least, and cannot be read again."""
        return self._repeats or not self._has_begun

    @property
    def headers(self) -> dict[str, str]:
        """The headers that announce its size."""
        return {} if self.size_bytes is None else {"Content-Length": str(self.size_bytes)}

    @asynccontextmanager
    async def sending(self, answer_s: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the pieces to send; raises TimeoutError when the receiver takes none, or does not
        answer within `answer_s` after the last."""
        async with asyncio.timeout(STALL_S) as limit:
            pieces = self._sent(limit, max(ANSWER_S, answer_s))
            try:
                yield pieces
            finally:
                # The task of the HTTP client that waits in it is being cancelled, and ends it.
                with suppress(RuntimeError):
                    await pieces.aclose()

    async def _sent(self, limit: asyncio.Timeout, answer_s: float) -> Any:
        digest = hashlib.sha256()
        self._has_begun, self.sent_bytes, self.failure = True, 0, None
        try:
            async for piece in self._read():
                self.sent_bytes += len(piece)
                digest.update(piece)
                _extend(limit, STALL_S)
                yield piece
                if self._on_progress is not None:
                    self._on_progress(self.sent_bytes, self.size_bytes)
            if self.size_bytes not in (None, self.sent_bytes):
                raise errors.BadParameter(
                    f"expected {self.size_bytes} bytes, got {self.sent_bytes}: the file changed "
                    "while it was sent"
                )
        except Exception as error:
            # The HTTP client would report it as a broken connection.
            self.failure = error
            raise
        self.sha256 = digest.hexdigest()
        _extend(limit, answer_s)

    async def _read(self) -> AsyncIterator[bytes]:
        pieces = self._pieces
        if isinstance(pieces, Path):
            with await asyncio.to_thread(pieces.open, "rb") as file:
                async for piece in self._of_file(file):
                    yield piece
        elif _is_file(pieces):
            if self._repeats:
                await asyncio.to_thread(pieces.seek, self._start)
            async for piece in self._of_file(pieces):
                yield piece
        elif isinstance(pieces, AsyncIterable):
            async for piece in pieces:
                for part in _cut(piece):
                    yield part
        elif isinstance(pieces, Iterable):
            items = iter(pieces)
            # In a thread, because an iterator may wait for what it gives.
            while (found := await asyncio.to_thread(_next, items)) is not None:
                for part in _cut(found):
                    yield part

    async def _of_file(self, file: Any) -> AsyncIterator[bytes]:
        left = self.size_bytes
        while left != 0:
            # Not more than was announced, from a file that grows.
            most = PIECE_BYTES if left is None else min(PIECE_BYTES, left)
            piece = await asyncio.to_thread(file.read, most)
            if not piece:
                return
            yield as_bytes(piece)
            left = None if left is None else left - len(piece)


def _extend(limit: asyncio.Timeout, by_s: float) -> None:
    # One that has expired meanwhile refuses.
    with suppress(RuntimeError):
        limit.reschedule(asyncio.get_running_loop().time() + by_s)


def as_bytes(piece: object) -> bytes:
    """Return a piece as bytes; raises TypeError for text."""
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise TypeError(f"expected bytes, got {type(piece).__name__}; open the file with mode 'rb'")
    return bytes(piece)


def _is_file(pieces: object) -> TypeGuard[BinaryIO]:
    return hasattr(pieces, "read") and hasattr(pieces, "seekable")


def _next(items: Iterator[bytes]) -> bytes | None:
    return next(items, None)


def _cut(piece: object) -> Iterator[bytes]:
    data = as_bytes(piece)
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
