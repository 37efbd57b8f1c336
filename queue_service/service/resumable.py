"""Uploads that a client may interrupt and resume at any replica.

What has arrived is stored beside the complete contents (`Partials` of store/contents.py).  The
index has the owner and the description.  At the end it becomes an ordinary file with the same id.

A client that first sends the SHA-256 of the content need not send what its owner has stored before.
Only the files of this owner are searched, so the answer reveals nothing about others'.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from queue_service.errors import BadParameter, ServiceError
from queue_service.service.file_errors import (
    FilesFull,
    FileTooBig,
    NoFileStore,
    NoSuchFile,
    NothingSent,
    UploadBusy,
    WrongOffset,
)
from queue_service.service.file_terms import About, FileOwner
from queue_service.service.file_upload import CHECK_EVERY_BYTES, no_disk, now_ms
from queue_service.service.files import Files
from queue_service.store.contents import Busy, Content, Partials, UploadAddress
from queue_service.store.file_folder import new_file_id
from queue_service.store.file_index import Added
from queue_service.store.upload_index import Begun, Reservation, UploadIndex

log = logging.getLogger(__name__)

#: An upload that receives nothing for this time, in seconds, is removed.
KEPT_S = 86_400
#: The same for a worker's upload straight to the storage: a worker does not resume one.
DIRECT_KEPT_S = 7_200
#: The most unfinished uploads of one owner.
MOST_OF_OWNER = 64
#: How many stalled uploads are looked up at once.
AT_ONCE = 500
#: While bytes arrive, progress is noted at least this often, in seconds.
NOTE_EVERY_S = 600.0
#: How often stalled uploads are looked for, in seconds.
SWEEP_EVERY_S = 3600.0


#: Makes the content with this id and this size complete.
_Complete = Callable[[str, int], Awaitable[Content]]


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

    def __init__(self, files: Files, index: UploadIndex, partials: Partials | None) -> None:
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
        self._check_size(size_bytes)
        if sha256:
            known = await self._files.known(owner, sha256=sha256, size_bytes=size_bytes)
            if known is not None:
                linked = await self._files.link_as(known, owner, about)
                return Resumable(linked.id, size_bytes, about, sha256, size_bytes)
            if (begun := await self._begun(owner, about, size_bytes, sha256)) is not None:
                return begun
        begun = Resumable(new_file_id(), size_bytes, about, sha256)
        await self._begin(owner, begun, kept_s=KEPT_S)
        return await self._ended(owner, begun) if not size_bytes else begun

    async def create_direct(
        self, owner: FileOwner, about: About, *, size_bytes: int, sha256: str, prefix: str
    ) -> tuple[Resumable, UploadAddress] | None:
        """Begin an upload that goes straight to the storage; None if the storage takes none.

        Each call begins a new one: it never continues another.  prefix: of its id.
        Raises FileTooBig or FilesFull.
        """
        self._check_size(size_bytes)
        direct = self._the_partials().direct
        if direct is None or not 0 < size_bytes <= direct.most_bytes:
            return None
        begun = Resumable(new_file_id(prefix), size_bytes, about, sha256)
        await self._begin(owner, begun, kept_s=DIRECT_KEPT_S)
        return begun, await direct.address(begun.id, size_bytes=size_bytes, sha256=sha256)

    def _check_size(self, size_bytes: int) -> None:
        self._the_partials()
        if size_bytes > self._files.limits.file_bytes:
            raise FileTooBig(size_bytes, self._files.limits.file_bytes)

    async def _begin(self, owner: FileOwner, begun: Resumable, *, kept_s: int) -> None:
        partials = self._the_partials()
        await self._files.room.check_disk(owner, begun.size_bytes)
        try:
            # First: an upload without a content has ended.
            await partials.create(begun.id)
        except OSError as error:
            raise no_disk(error) from error
        try:
            await self._reserve(owner, begun, kept_s=kept_s)
        except FilesFull:
            await partials.remove(begun.id)
            raise

    async def _begun(
        self, owner: FileOwner, about: About, size_bytes: int, sha256: str
    ) -> Resumable | None:
        """Return the unfinished upload of the same content, to go on with."""
        for file_id, text in (await self._index.of(owner.name)).items():
            one = _read(text)
            if (one.sha256, one.size_bytes, one.about) == (sha256, size_bytes, about):
                with suppress(NoSuchFile):
                    return await self.find(owner, file_id)
        return None

    async def _reserve(self, owner: FileOwner, upload: Resumable, *, kept_s: int) -> None:
        """Note an upload; raises FilesFull."""
        reservation = Reservation(upload.id, owner.name, upload.text(), upload.size_bytes)
        for is_last in (False, True):
            outcome = await self._index.begin(
                reservation,
                # As if it had begun earlier, so that the sweep ends it sooner.
                now_ms=now_ms() - (KEPT_S - kept_s) * 1000,
                limit_bytes=self._files.limits.all_bytes,
                most=MOST_OF_OWNER,
            )
            if outcome is Begun.OK:
                return
            if not is_last:
                # Uploads of killed processes may still be counted.
                await self._forget_ended(owner)
        if outcome is Begun.MANY:
            raise FilesFull(f"you have {MOST_OF_OWNER} unfinished uploads, which is the limit")
        raise self._files.room.full(Added(outcome))

    async def find(self, owner: FileOwner, file_id: str) -> Resumable:
        """Return an upload, also one that has just become a file; raises NoSuchFile."""
        partials = self._the_partials()
        noted = await self._index.find(owner.name, file_id)
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
        progress = _Progress(self._index, self._files, owner, found)
        try:
            async with self._the_partials().appending(file_id) as appending:
                if appending.size_bytes != offset:
                    raise WrongOffset(offset, appending.size_bytes)
                async for piece in pieces:
                    if appending.size_bytes + len(piece) > found.size_bytes:
                        raise FileTooBig(appending.size_bytes + len(piece), found.size_bytes)
                    await appending.write(piece)
                    await progress.reach(appending.size_bytes)
                at = appending.size_bytes
            if at < found.size_bytes:
                await progress.note(at)
        except Busy:
            raise UploadBusy(file_id) from None
        except FileNotFoundError:
            raise NoSuchFile(file_id) from None
        except OSError as error:
            raise no_disk(error) from error
        now = replace(found, offset=at)
        return await self._ended(owner, now) if at == found.size_bytes else now

    async def address(self, upload: Resumable) -> UploadAddress | None:
        """Return where the client can send all of an upload without this process, if anywhere."""
        direct = self._the_partials().direct
        fits = direct is not None and 0 < upload.size_bytes <= direct.most_bytes
        if direct is None or not fits or not upload.sha256 or upload.offset:
            return None
        return await direct.address(upload.id, size_bytes=upload.size_bytes, sha256=upload.sha256)

    async def complete(self, owner: FileOwner, file_id: str) -> Resumable:
        """Make what the client has sent to that address a file.

        Raises NothingSent, or BadParameter when it is not what was announced.
        """
        found = await self.find(owner, file_id)
        direct = self._the_partials().direct
        if found.offset == found.size_bytes:
            return found
        if direct is None:
            raise NothingSent(file_id)
        try:
            return await self._ended(owner, found, direct.complete)
        except NoSuchFile:
            raise NothingSent(file_id) from None

    async def abandon(self, owner: FileOwner, file_id: str) -> None:
        """Remove an upload; raises NoSuchFile."""
        partials = self._the_partials()
        if not await self._index.end(owner.name, file_id):
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
        partials, removed = self._the_partials(), 0
        heard_by_ms = now_ms() - round(older_than_s * 1000)
        while stalled := await self._index.stalled(heard_by_ms, count=AT_ONCE):
            for owner, file_id in stalled:
                # Another request may have gone on with it at this moment.
                if await self._index.end(owner, file_id, heard_by_ms=heard_by_ms):
                    await partials.remove(file_id)
                    removed += 1
        # What was not noted, because a process was killed.
        removed += await partials.remove_stalled(older_than_s=older_than_s)
        if removed:
            log.info("Removed %d uploads that stalled.", removed)

    async def _forget_ended(self, owner: FileOwner) -> None:
        for file_id in await self._index.of(owner.name):
            if await self._the_partials().size_bytes(file_id) is None:
                await self._index.end(owner.name, file_id)

    async def _ended(
        self, owner: FileOwner, upload: Resumable, complete: _Complete | None = None
    ) -> Resumable:
        """Make an upload a file; raises BadParameter when it is not what was announced.

        A client that goes away does not stop it, and one that asks meanwhile waits for it.
        """
        ending = self._ending.get(upload.id)
        if ending is None:
            complete = complete or self._the_partials().complete
            ending = asyncio.create_task(
                self._end(owner, upload, complete), name=f"end of {upload.id}"
            )
            self._ending[upload.id] = ending
            ending.add_done_callback(lambda done: self._forget(upload.id, done))
        return await asyncio.shield(ending)

    def _forget(self, upload_id: str, done: "asyncio.Task[Resumable]") -> None:
        self._ending.pop(upload_id, None)
        if not done.cancelled() and done.exception() is not None:
            # The requests that waited for it may have ended.
            log.info("The upload %s ended without a file: %s", upload_id, done.exception())

    async def _end(self, owner: FileOwner, upload: Resumable, complete: _Complete) -> Resumable:
        try:
            content = await complete(upload.id, upload.size_bytes)
        except FileNotFoundError:
            raise NoSuchFile(upload.id) from None
        except OSError as error:
            raise no_disk(error) from error
        announced = Content(upload.size_bytes, upload.sha256 or content.sha256)
        if content != announced:
            await self._files.discard(upload.id)
        else:
            await self._files.add(upload.id, owner, upload.about, content)
        await self._index.end(owner.name, upload.id)
        # Afterwards, so that left-over pieces never count as the upload.  The sweep removes what
        # this cannot.
        with suppress(ServiceError, OSError):
            await self._the_partials().remove(upload.id)
        if content != announced:
            raise BadParameter(
                "the content",
                f"{announced.size_bytes} bytes with the SHA-256 {announced.sha256}",
                f"{content.size_bytes} with {content.sha256}",
            )
        return replace(upload, offset=upload.size_bytes, sha256=content.sha256)

    def _the_partials(self) -> Partials:
        if self._partials is None:
            raise NoFileStore
        return self._partials


class _Progress:
    """Notes now and then how much of an upload has arrived, and checks the space on the disk."""

    def __init__(
        self, index: UploadIndex, files: Files, owner: FileOwner, upload: Resumable
    ) -> None:
        self._index = index
        self._files = files
        self._owner = owner
        self._file_id = upload.id
        self._noted_bytes = upload.offset
        self._noted_at = time.monotonic()

    async def note(self, arrived_bytes: int) -> None:
        await self._index.progress(
            self._owner.name, self._file_id, arrived_bytes=arrived_bytes, now_ms=now_ms()
        )
        self._noted_bytes, self._noted_at = arrived_bytes, time.monotonic()

    async def reach(self, arrived_bytes: int) -> None:
        """Note it if that is due; raises FilesFull."""
        is_due = arrived_bytes - self._noted_bytes >= CHECK_EVERY_BYTES
        if is_due or time.monotonic() - self._noted_at >= NOTE_EVERY_S:
            await self.note(arrived_bytes)
            await self._files.room.check_disk(self._owner)


def _read(text: str) -> Resumable:
    fields = json.loads(text)
    return Resumable(**{**fields, "about": About(**fields["about"])})
