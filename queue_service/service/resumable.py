"""Uploads that a client may interrupt and resume at any replica.

What has arrived is stored beside the complete contents (`Partials` of store/contents.py).  The
index has the owner and the description.  At the end it becomes an ordinary file with the same id.

A client that first sends the SHA-256 of the content need not send what its owner has stored before.
Only the files of this owner are searched, so the answer reveals nothing about others'.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from queue_service.errors import BadParameter, ServiceError
from queue_service.service.file_errors import (
    FilesFull,
    FileTooBig,
    NoFileStore,
    NoSuchFile,
    UploadBusy,
    WrongOffset,
)
from queue_service.service.file_terms import About, FileOwner
from queue_service.service.file_upload import CHECK_EVERY_BYTES, no_disk, now_ms
from queue_service.service.files import Files
from queue_service.store.contents import Busy, Partials
from queue_service.store.file_folder import new_file_id
from queue_service.store.file_index import FileIndex

log = logging.getLogger(__name__)

#: An upload that receives nothing for this time, in seconds, is removed.
KEPT_S = 86_400
#: The most unfinished uploads of one owner.
MOST_OF_OWNER = 64
#: How often stalled uploads are looked for, in seconds.
SWEEP_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Resumable:
    """An upload and its progress.

    sha256: of the whole content, if the client has said it.  offset: how much has arrived; equal to
    size_bytes when the file exists.
    """

    id: str
    size_bytes: int
    about: About
    sha256: str = ""
    offset: int = 0

    def text(self) -> str:
        """Return what the index notes of it: what has arrived says its own size."""
        return json.dumps(asdict(replace(self, offset=0)))


class Resumables:
    """The unfinished uploads of one process; without a place for files, all raise NoFileStore."""

    def __init__(self, files: Files, index: FileIndex, partials: Partials | None) -> None:
        self._files = files
        self._index = index
        self._partials = partials
        #: The uploads that are being made files.
        self._ending: dict[str, asyncio.Task[Resumable]] = {}

    async def create(
        self, owner: FileOwner, about: About, *, size_bytes: int, sha256: str = ""
    ) -> Resumable:
        """Begin an upload, or return the one to resume; raises FileTooBig or FilesFull.

        It is complete at once if the owner has a file with this SHA-256 and size.
        """
        partials = self._the_partials()
        if size_bytes > self._files.limits.file_bytes:
            raise FileTooBig(size_bytes, self._files.limits.file_bytes)
        if sha256:
            known = await self._index.with_sum(owner.name, sha256)
            if known and known.size_bytes == size_bytes and known.expires_at_ms > now_ms():
                linked = await self._files.link_as(known, owner, about)
                return Resumable(linked.id, size_bytes, about, sha256, size_bytes)
        open_ones = await self._open_ones(owner)
        for one in open_ones:
            if sha256 and (one.sha256, one.size_bytes, one.about) == (sha256, size_bytes, about):
                return one
        if len(open_ones) >= MOST_OF_OWNER:
            raise FilesFull(f"you have {len(open_ones)} unfinished uploads, which is the limit")
        # Open uploads may still need all the bytes that they have announced.
        announced = sum(one.size_bytes for one in open_ones)
        await self._files.room.check(owner, announced + size_bytes)
        begun = Resumable(new_file_id(), size_bytes, about, sha256)
        try:
            # First: another request forgets uploads without a content, which have ended.
            await partials.create(begun.id)
        except OSError as error:
            raise no_disk(error) from error
        await self._index.note_upload(owner.name, begun.id, begun.text(), kept_s=KEPT_S * 2)
        return await self._ended(owner, begun) if not size_bytes else begun

    async def find(self, owner: FileOwner, file_id: str) -> Resumable:
        """Return an upload, also one that has just become a file; raises NoSuchFile."""
        partials = self._the_partials()
        noted = (await self._index.uploads(owner.name)).get(file_id)
        if noted is not None:
            offset = await partials.size_bytes(file_id)
            if offset is not None and offset < (found := _read(noted)).size_bytes:
                return replace(found, offset=offset)
            if offset is not None:
                # All has arrived: the process that completes it was killed, or is still at work.
                with suppress(NoSuchFile):
                    return await self._ended(owner, found)
        file = await self._files.find(owner, file_id)
        about = About(file.filename, file.purpose, file.content_type)
        return Resumable(file.id, file.size_bytes, about, file.sha256, file.size_bytes)

    async def append(
        self, owner: FileOwner, file_id: str, offset: int, pieces: AsyncIterable[bytes]
    ) -> Resumable:
        """Append to an upload, and make it a file when all has arrived.

        Raises WrongOffset, UploadBusy, FileTooBig, FilesFull, or what the pieces raise; what has
        arrived until then stays.
        """
        found = await self.find(owner, file_id)
        if found.offset == found.size_bytes:
            if offset != found.offset:
                raise WrongOffset(offset, found.offset)
            return found
        room, counted = self._files.room, 0
        try:
            async with self._the_partials().appending(file_id) as appending:
                if appending.size_bytes != offset:
                    raise WrongOffset(offset, appending.size_bytes)
                async for piece in pieces:
                    if appending.size_bytes + len(piece) > found.size_bytes:
                        raise FileTooBig(appending.size_bytes + len(piece), found.size_bytes)
                    await appending.write(piece)
                    arrived = appending.size_bytes - offset
                    if arrived - counted >= CHECK_EVERY_BYTES:
                        room.count(owner, arrived - counted)
                        counted = arrived
                        await room.check(owner, 0)
                at = appending.size_bytes
        except Busy:
            raise UploadBusy(file_id) from None
        except FileNotFoundError:
            raise NoSuchFile(file_id) from None
        except OSError as error:
            raise no_disk(error) from error
        finally:
            room.count(owner, -counted)
        now = replace(found, offset=at)
        return await self._ended(owner, now) if at == found.size_bytes else now

    async def abandon(self, owner: FileOwner, file_id: str) -> None:
        """Remove an upload; raises NoSuchFile."""
        partials = self._the_partials()
        if not await self._index.forget_upload(owner.name, file_id):
            raise NoSuchFile(file_id)
        await partials.remove(file_id)

    async def run(self) -> None:
        """Remove stalled uploads, until cancelled."""
        while self._partials is not None:
            try:
                await self.sweep()
            except (ServiceError, OSError) as error:
                log.warning("Stalled uploads are not removed now: %s", error)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep(self, older_than_s: float = KEPT_S) -> None:
        """Remove uploads that have received nothing for this time."""
        removed = await self._the_partials().remove_stalled(older_than_s=older_than_s)
        if removed:
            log.info("Removed %d uploads that stalled.", removed)

    async def _open_ones(self, owner: FileOwner) -> list[Resumable]:
        found = []
        for file_id, text in (await self._index.uploads(owner.name)).items():
            offset = await self._the_partials().size_bytes(file_id)
            if offset is None:
                # It has ended, or stalled; or its beginning was interrupted.
                await self._index.forget_upload(owner.name, file_id)
            else:
                found.append(replace(_read(text), offset=offset))
        return found

    async def _ended(self, owner: FileOwner, upload: Resumable) -> Resumable:
        """Make an upload a file; raises BadParameter when it is not what was announced.

        A client that goes away does not stop it, and one that asks meanwhile waits for it.
        """
        ending = self._ending.get(upload.id)
        if ending is None:
            ending = asyncio.create_task(self._end(owner, upload), name=f"end of {upload.id}")
            self._ending[upload.id] = ending
            ending.add_done_callback(lambda _: self._ending.pop(upload.id, None))
        return await asyncio.shield(ending)

    async def _end(self, owner: FileOwner, upload: Resumable) -> Resumable:
        partials = self._the_partials()
        try:
            content = await partials.complete(upload.id, upload.size_bytes)
        except FileNotFoundError:
            raise NoSuchFile(upload.id) from None
        except OSError as error:
            raise no_disk(error) from error
        file = await self._files.add(upload.id, owner, upload.about, content)
        await self._index.forget_upload(owner.name, upload.id)
        # Afterwards: what is left of the pieces meanwhile must not count as the upload.  The sweep
        # removes what stays.
        with suppress(ServiceError, OSError):
            await partials.remove(upload.id)
        if upload.sha256 and file.sha256 != upload.sha256:
            await self._files.remove([file.id])
            raise BadParameter(
                "sha256", f"a content with the SHA-256 {upload.sha256}", f"one with {file.sha256}"
            )
        return replace(upload, offset=upload.size_bytes, sha256=file.sha256)

    def _the_partials(self) -> Partials:
        if self._partials is None:
            raise NoFileStore
        return self._partials


def _read(text: str) -> Resumable:
    fields = json.loads(text)
    return Resumable(**{**fields, "about": About(**fields["about"])})
