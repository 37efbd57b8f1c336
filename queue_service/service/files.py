"""Files: contents in a folder that all replicas share, an index in the store.

A file belongs to the owner of the token that has uploaded it, and others never learn that it
exists.  It is kept until it is deleted or expires.  The payload files of a service belong
to its entries (payload_files.py): they are kept as long as an entry names them.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from queue_service.errors import ServiceError
from queue_service.service.file_errors import FilesFull, FileTooBig, NoFileStore, NoSuchFile
from queue_service.store.file_folder import FileFolder, Place, Writer, new_file_id
from queue_service.store.file_holders import FileHolders
from queue_service.store.file_index import Added, FileIndex, StoredFile

log = logging.getLogger(__name__)

#: How often expired files are removed, in seconds.
EXPIRE_EVERY_S = 30.0
#: How often contents that the index lacks are looked for, in seconds: killed processes leave some.
SWEEP_EVERY_S = 3600.0
#: A content that the index lacks may be of an upload that is just ending.  After this time, in
#: seconds, it is not; nor is an upload under way that nothing was written to.
LEFT_OVER_S = 3600.0
#: How many files are looked up at once.
AT_ONCE = 500
#: How often an upload checks for room, in bytes.
CHECK_EVERY_BYTES = 16 * 1024 * 1024

#: What the owner of a service's payload files begins with, before its name and incarnation.
OF_ENTRIES = "entry:"
#: A payload file has this time to get its entry, and is looked at again after it, in seconds.
UNHELD_S = 3600

#: The part that one owner may have of what others leave; add_file.lua has it too.
SHARE = 0.8

_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileOwner:
    """Whose files a request sees and adds.

    name: of the owner.  sees_all: whether it also sees those of every other owner.
    """

    name: str
    sees_all: bool = False

    def may_see(self, file: StoredFile) -> bool:
        """Say whether it may read and delete this file."""
        if file.owner == self.name:
            return True
        return self.sees_all and not file.owner.startswith(OF_ENTRIES)


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What files may take.

    file_bytes: of one file.  all_bytes: of all, 0 for no limit.  free_bytes: what the disk keeps
    free.  retention_s: how long a file is kept unless its upload says otherwise.
    """

    file_bytes: int
    all_bytes: int
    free_bytes: int
    retention_s: int


@dataclass(frozen=True, slots=True)
class About:
    """What the client says of a file.  expires_in_s: None is the default retention."""

    filename: str
    purpose: str
    content_type: str
    expires_in_s: int | None = None


class Files:
    """The files of one process; without a folder, every method raises NoFileStore."""

    def __init__(
        self,
        index: FileIndex,
        folder: FileFolder | None,
        limits: FileLimits,
        holders: Callable[[str, int], FileHolders] | None = None,
    ) -> None:
        """holders: of a service, by its name and incarnation."""
        self.limits = limits
        self._holders = holders
        self._index = index
        self._folder = folder
        #: Bytes of the uploads under way in this process, by owner.
        self._incoming: Counter[str] = Counter()

    @property
    def are_kept(self) -> bool:
        """Whether this process keeps files."""
        return self._folder is not None

    async def upload(
        self,
        owner: FileOwner,
        *,
        announced_bytes: int | None,
        prefix: str = "file_",
        place: "Place | None" = None,
    ) -> "Upload":
        """Begin an upload; raises FileTooBig or FilesFull if there is no room for it.

        prefix: of its id.  place: of a file that this service has made.
        """
        upload = Upload(self, self._the_folder(), owner, place or Place(new_file_id(prefix)))
        upload.check_size(announced_bytes or 0)
        await self.check_room(owner, announced_bytes or 0)
        return upload

    async def find(self, owner: FileOwner, file_id: str) -> StoredFile:
        """Return a file; raises NoSuchFile also for the file of another owner."""
        self._the_folder()
        (file,) = await self._index.find([file_id])
        if file is None or not owner.may_see(file) or file.expires_at_ms <= now_ms():
            raise NoSuchFile(file_id)
        return file

    async def list(
        self, owner: FileOwner, *, after: str, count: int, newest_first: bool
    ) -> list[StoredFile]:
        """Return an owner's own files; raises NoSuchFile when `after` is none of them."""
        self._the_folder()
        ids = await self._index.ids_of(
            owner.name, after=after, count=count, newest_first=newest_first
        )
        if ids is None:
            raise NoSuchFile(after)
        at_ms = now_ms()
        found = await self._index.find(ids)
        return [file for file in found if file and file.expires_at_ms > at_ms]

    async def link(self, file: StoredFile, owner: FileOwner, prefix: str) -> StoredFile:
        """Give a file a second owner, which keeps its content when the first one deletes it.

        Raises FilesFull, or NoSuchFile when its content has gone.
        """
        created_at_ms = now_ms()
        linked = replace(
            file,
            id=new_file_id(prefix),
            owner=owner.name,
            created_at_ms=created_at_ms,
            expires_at_ms=created_at_ms + UNHELD_S * 1000,
        )
        try:
            await self._the_folder().link(file.id, linked.id)
        except FileNotFoundError:
            raise NoSuchFile(file.id) from None
        except OSError as error:
            raise _no_disk(error) from error
        await self._add_or_remove(linked)
        return linked

    def content_path(self, file_id: str) -> Path:
        """Return where the content of a file is; raises NoSuchFile when it is not there."""
        path = self._the_folder().path(file_id)
        if not path.is_file():
            where = "PENSTOCK_FILES_DIR. All replicas need the same folder."
            log.error("The content of file %s is not in %s", file_id, where)
            raise NoSuchFile(file_id)
        return path

    async def find_any(self, file_ids: Sequence[str]) -> Sequence[StoredFile | None]:
        """Return files whosever they are; None for one that does not exist."""
        self._the_folder()
        return await self._index.find(file_ids)

    async def used_bytes(self, owner: FileOwner) -> int:
        """Return how many bytes an owner's files have."""
        return (await self._index.usage(owner.name)).own_bytes if self.are_kept else 0

    async def remove(self, file_ids: Sequence[str]) -> None:
        """Remove files and their contents; those that are gone are no error.

        The content goes first: a killed process leaves what names it, and so it is tried again.
        """
        for file_id, file in zip(file_ids, await self._index.find(file_ids), strict=True):
            await self._the_folder().remove(file_id)
            if file is not None:
                await self._index.remove(file)

    async def remove_all_of(self, owner: FileOwner) -> None:
        """Remove every file of an owner."""
        while ids := await self._index.ids_of(
            owner.name, after="", count=AT_ONCE, newest_first=False
        ):
            await self.remove(ids)

    async def delete(self, owner: FileOwner, file_id: str) -> None:
        """Delete a file; raises NoSuchFile."""
        file = await self.find(owner, file_id)
        # A downloader that has opened the content reads it to its end.
        if not await self._remove(file):
            raise NoSuchFile(file_id)

    async def check_room(self, owner: FileOwner, more_bytes: int) -> None:
        """Raise FilesFull when the disk or the limits have no room for this much more."""
        limits, incoming = self.limits, self._incoming
        free = await asyncio.to_thread(self._the_folder().free_bytes)
        if free - more_bytes < limits.free_bytes:
            raise FilesFull(
                f"the disk of the files has {free // _MB} MiB free, of which "
                f"{limits.free_bytes // _MB} MiB are reserved"
            )
        usage = await self._index.usage(owner.name)
        own = usage.own_bytes + incoming[owner.name] + more_bytes
        # What the disk still takes, and what this owner has of it already.
        if own > (free - limits.free_bytes - more_bytes + own) * SHARE:
            raise FilesFull("your files have their share of the disk")
        if not limits.all_bytes:
            return
        total = usage.total_bytes + incoming.total() + more_bytes
        if total > limits.all_bytes:
            raise self._full(Added.FULL)
        if own > (limits.all_bytes - (total - own)) * SHARE:
            raise self._full(Added.SHARE)

    async def run(self) -> None:
        """Remove what has expired and what killed processes left, until cancelled."""
        if self._folder is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(_keep(self.expire, EXPIRE_EVERY_S))
            group.create_task(_keep(self.sweep, SWEEP_EVERY_S))

    async def expire(self) -> None:
        """Remove the expired files, less payload files that an entry names."""
        while found := await self._index.expired(now_ms(), count=AT_ONCE):
            held = await self._held_by_entries(found)
            for file in found:
                if file.id not in held:
                    await self._remove(file)
            await self._index.keep(sorted(held), now_ms() + UNHELD_S * 1000)

    async def _held_by_entries(self, files: Sequence[StoredFile]) -> set[str]:
        of_services = sorted({file.owner for file in files if file.owner.startswith(OF_ENTRIES)})
        held: set[str] = set()
        for owner in of_services:
            assert self._holders is not None, "a service that keeps files for entries"
            _, name, incarnation = owner.split(":")
            ids = [file.id for file in files if file.owner == owner]
            are_held = await self._holders(name, int(incarnation)).are_held(ids)
            held.update(one for one, is_held in zip(ids, are_held, strict=True) if is_held)
        return held

    async def sweep(self, left_over_s: float = LEFT_OVER_S) -> None:
        """Remove contents that the index lacks, and uploads that have stalled."""
        folder = self._the_folder()
        stalled = await asyncio.to_thread(folder.remove_stalled, older_than_s=left_over_s)
        ids = await asyncio.to_thread(lambda: list(folder.ids(older_than_s=left_over_s)))
        orphans = 0
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            for file_id, file in zip(some, await self._index.find(some), strict=True):
                if file is None:
                    await folder.remove(file_id)
                    orphans += 1
        if stalled or orphans:
            log.info(
                "Removed %d stalled uploads and %d contents that the index lacks.", stalled, orphans
            )

    async def _remove(self, file: StoredFile) -> bool:
        removed = await self._index.remove(file)
        await self._the_folder().remove(file.id)
        return removed

    async def _add(self, file: StoredFile) -> None:
        added = await self._index.add(file, limit_bytes=self.limits.all_bytes)
        if added is not Added.OK:
            raise self._full(added)

    async def _add_or_remove(self, file: StoredFile) -> None:
        try:
            await self._add(file)
        except FilesFull:
            await self._the_folder().remove(file.id)
            raise

    def _count(self, owner: FileOwner, more_bytes: int) -> None:
        self._incoming[owner.name] += more_bytes
        if not self._incoming[owner.name]:
            del self._incoming[owner.name]

    def _full(self, added: Added) -> FilesFull:
        limit = f"PENSTOCK_FILES_TOTAL_MB is {self.limits.all_bytes // _MB}"
        if added is Added.SHARE:
            return FilesFull(f"your files have their share of it ({limit})")
        return FilesFull(f"all files together have reached their limit ({limit})")

    def _the_folder(self) -> FileFolder:
        if self._folder is None:
            raise NoFileStore
        return self._folder


class Upload:
    """One upload: a block that receives pieces, and adds the file at its end.

    Leaving the block without `finish` leaves nothing behind.
    """

    def __init__(self, files: Files, folder: FileFolder, owner: FileOwner, place: Place) -> None:
        self.file_id = place.file_id
        self._is_ours = place.attempt > 0
        self._files = files
        self._folder = folder
        self._owner = owner
        self._writer: Writer = folder.writer(place.file_id, attempt=place.attempt)
        self._counted = 0

    async def __aenter__(self) -> "Upload":
        try:
            await self._writer.__aenter__()
        except OSError as error:
            raise _no_disk(error) from error
        return self

    async def __aexit__(self, *error: object) -> None:
        self._files._count(self._owner, -self._counted)
        await self._writer.__aexit__(*error)

    def check_size(self, size_bytes: int) -> None:
        """Raise FileTooBig when a file of this size is not accepted."""
        if size_bytes > self._files.limits.file_bytes and not self._is_ours:
            raise FileTooBig(size_bytes, self._files.limits.file_bytes)

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises FileTooBig or FilesFull."""
        size = self._writer.size_bytes + len(piece)
        self.check_size(size)
        if size - self._counted >= CHECK_EVERY_BYTES:
            self._files._count(self._owner, size - self._counted)
            self._counted = size
            await self._files.check_room(self._owner, 0)
        try:
            await self._writer.write(piece)
        except OSError as error:
            raise _no_disk(error) from error

    async def finish(self, about: About, owner: FileOwner | None = None) -> StoredFile:
        """Add the file, to another owner if given; after FilesFull nothing is left of it."""
        try:
            content = await self._writer.finish()
        except OSError as error:
            raise _no_disk(error) from error
        created_at_ms = now_ms()
        kept_s = about.expires_in_s or self._files.limits.retention_s
        file = StoredFile(
            id=self.file_id,
            owner=(owner or self._owner).name,
            filename=about.filename,
            purpose=about.purpose,
            content_type=about.content_type,
            size_bytes=content.size_bytes,
            sha256=content.sha256,
            created_at_ms=created_at_ms,
            expires_at_ms=created_at_ms + kept_s * 1000,
        )
        await self._files._add_or_remove(file)
        return file


def _no_disk(error: OSError) -> FilesFull:
    log.error("A file could not be written: %s", error)
    return FilesFull(f"the content cannot be written ({error.strerror or 'input/output error'})")


def now_ms() -> int:
    """Return the time, ms since 1970."""
    return int(time.time() * 1000)


async def _keep(duty: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        try:
            await duty()
        except (ServiceError, OSError) as error:
            log.warning("Files are not cleaned up now: %s", error)
        await asyncio.sleep(every_s)
