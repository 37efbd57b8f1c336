"""Contents that arrive in several requests, in S3.

    <prefix>/incoming/<id>/begun         says that there is one
    <prefix>/incoming/<id>/<first byte>  one object for each piece, with 20 digits
    <prefix>/incoming/<id>/direct        what the client has sent to S3 itself (direct_uploads.py)

The objects show how much has arrived, so a client may resume at any replica after any process was
killed.
"""

import asyncio
import time
from collections.abc import AsyncIterator

from queue_service.store.contents import Busy, Content
from queue_service.store.direct_uploads import DirectUploadsToS3
from queue_service.store.s3_contents import S3Contents

#: How much is gathered before it is written, in bytes.
OBJECT_BYTES = 8 * 1024 * 1024
#: A piece below this size, in bytes, is joined with what arrives after it: else a client that sends
#: one byte at a time makes an object of each.
LEAST_OBJECT_BYTES = 1024 * 1024
#: How long something stays whose upload has ended, in seconds: an address outlives its upload.
ENDED_S = 3600.0


class PartialsInS3:
    """Partial contents in S3.  Every method raises FilesUnavailable."""

    def __init__(self, contents: S3Contents, direct: DirectUploadsToS3 | None = None) -> None:
        self._contents = contents
        self._direct = direct
        self._busy: set[str] = set()

    @property
    def direct(self) -> DirectUploadsToS3 | None:
        """Clients can send contents to S3 themselves, if there are keys to sign with."""
        return self._direct

    async def create(self, file_id: str) -> None:
        """Begin a content: an object says that there is one."""
        await self._contents.put(f"incoming/{file_id}/begun", b"")

    async def size_bytes(self, file_id: str) -> int | None:
        """Return how much has arrived; None for a content that was not begun, or has ended."""
        parts = await self.parts(file_id)
        return None if parts is None else sum(size for _, size in parts)

    def appending(self, file_id: str) -> "AppendingToS3":
        """Return a block that appends; entering it raises Busy, or FileNotFoundError."""
        return AppendingToS3(self._contents, self, self._busy, file_id)

    async def complete(self, file_id: str, size_bytes: int) -> Content:
        """Make it a complete content; raises FileNotFoundError, or OSError when S3 is full.

        S3 cannot join objects of any size, and this process has not seen all of the bytes.
        """
        async with self._contents.writer(file_id) as copying:
            async for piece in self._pieces(file_id):
                await copying.write(piece)
            if copying.size_bytes != size_bytes:
                # Another process has completed it, and removes the pieces: what is left of them
                # must not replace the content.
                raise FileNotFoundError(file_id)
            return await copying.finish()

    async def remove(self, file_id: str) -> None:
        """Remove a content; one that is not there is no error."""
        async for page in self._contents.objects(f"incoming/{file_id}"):
            # `begun` is there until all else is gone.
            for key, _, _ in sorted(page, key=lambda one: (_is_begun(one[0]), one[0])):
                await self._contents.remove_key(key)

    async def remove_stalled(self, *, older_than_s: float) -> int:
        """Remove contents to which nothing was appended for this time; return how many.

        What was sent to an address after the upload had ended counts in no limit, and goes sooner.
        """
        newest: dict[str, float] = {}
        begun: set[str] = set()
        async for page in self._contents.objects("incoming"):
            for key, _, changed_at in page:
                file_id = key.split("/")[1]
                newest[file_id] = max(newest.get(file_id, 0.0), changed_at)
                if _is_begun(key):
                    begun.add(file_id)
        ended_s, now = min(older_than_s, ENDED_S), time.time()
        stalled = [
            one
            for one, at in newest.items()
            if at < now - (older_than_s if one in begun else ended_s)
        ]
        for file_id in stalled:
            await self.remove(file_id)
        return len(stalled)

    async def _pieces(self, file_id: str) -> AsyncIterator[bytes]:
        for key, size in await self.parts(file_id) or ():
            async for piece in self._contents.read_key(key, 0, size):
                yield piece

    async def parts(self, file_id: str) -> list[tuple[str, int]] | None:
        """Return the key and size of each piece, without a gap; None when it was not begun."""
        found: dict[int, tuple[str, int]] = {}
        is_begun = False
        async for page in self._contents.objects(f"incoming/{file_id}"):
            for key, size, _ in page:
                name = key.rpartition("/")[2]
                if name.isdigit():
                    found[int(name)] = (key, size)
                is_begun = is_begun or name == "begun"
        if not is_begun:
            return None
        parts, at = [], 0
        # Overlapping requests can leave pieces of another size behind.
        while at in found and found[at][1]:
            parts.append(found[at])
            at += found[at][1]
        return parts


class AppendingToS3:
    """Appends to one content in S3; raises FilesUnavailable, or OSError when S3 is full."""

    def __init__(
        self, contents: S3Contents, partials: PartialsInS3, busy: set[str], file_id: str
    ) -> None:
        self._contents = contents
        self._partials = partials
        self._busy = busy
        self._file_id = file_id
        self._gathered = bytearray()
        #: The key and size of the last object, until the first piece arrives.
        self._last: tuple[str, int] | None = None
        self.size_bytes = 0

    async def __aenter__(self) -> "AppendingToS3":
        if self._file_id in self._busy:
            raise Busy
        self._busy.add(self._file_id)
        try:
            parts = await self._partials.parts(self._file_id)
            if parts is None:
                raise FileNotFoundError(self._file_id)
        except BaseException:
            self._busy.discard(self._file_id)
            raise
        self.size_bytes = sum(size for _, size in parts)
        self._last = parts[-1] if parts else None
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            if self._gathered:
                # Also what arrived before the connection broke.  Shielded: a client that goes away
                # cancels its request.
                await asyncio.shield(asyncio.ensure_future(self._put()))
        finally:
            self._busy.discard(self._file_id)

    async def write(self, piece: bytes) -> None:
        """Append a piece."""
        if self._last is not None:
            (key, size), self._last = self._last, None
            if size < LEAST_OBJECT_BYTES:
                # This replaces the last object by a longer one with the same name.
                read = self._contents.read_key(key, 0, size)
                self._gathered = bytearray(b"".join([old async for old in read]))
        self._gathered += piece
        self.size_bytes += len(piece)
        if len(self._gathered) >= OBJECT_BYTES:
            await self._put()

    async def _put(self) -> None:
        gathered, self._gathered = bytes(self._gathered), bytearray()
        first = self.size_bytes - len(gathered)
        await self._contents.put(f"incoming/{self._file_id}/{first:020d}", gathered)


def _is_begun(key: str) -> bool:
    return key.endswith("/begun")
