"""Files: contents in a folder or in S3, which all replicas share, and an index in the store.

A file belongs to the owner of the token that has uploaded it, and others never learn that it
exists.  It is kept until it is deleted or expires.  The payload files of a service belong
to its entries (payload_files.py): they are kept as long as an entry names them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from queue_service.errors import ServiceError
from queue_service.service.file_content import StoredContent
from queue_service.service.file_errors import FilesFull, NoFileStore, NoSuchFile
from queue_service.service.file_room import FileRoom
from queue_service.service.file_terms import OF_ENTRIES, About, FileLimits, FileOwner
from queue_service.service.file_upload import Upload, described, no_disk, now_ms
from queue_service.store.contents import Content, Contents, Place
from queue_service.store.file_folder import new_file_id
from queue_service.store.file_holders import FileHolders
from queue_service.store.file_index import Added, FileIndex, Removed, StoredFile

__all__ = ["OF_ENTRIES", "UNHELD_S", "About", "FileLimits", "FileOwner", "Files", "Upload"]

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

#: A payload file has this time to get its entry, and is looked at again after it, in seconds.
UNHELD_S = 3600


class Files:
    """The files of one process; without a place for them, every method raises NoFileStore."""

    def __init__(
        self,
        index: FileIndex,
        contents: Contents | None,
        limits: FileLimits,
        holders: Callable[[str, int], FileHolders] | None = None,
    ) -> None:
        """holders: of a service, by its name and incarnation."""
        self.limits = limits
        self._holders = holders
        self._index = index
        self._contents = contents
        self._room = None if contents is None else FileRoom(index, contents, limits)

    @property
    def are_kept(self) -> bool:
        """Whether this process keeps files."""
        return self._contents is not None

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
        place = place or Place(new_file_id(prefix))
        writer = self._the_contents().writer(place.file_id, attempt=place.attempt)
        upload = Upload(self.room, self.limits, writer, owner, place=place, add=self._add_or_remove)
        upload.check_size(announced_bytes or 0)
        await self.room.check(owner, announced_bytes or 0)
        return upload

    async def find(self, owner: FileOwner, file_id: str) -> StoredFile:
        """Return a file; raises NoSuchFile also for the file of another owner."""
        self._the_contents()
        (file,) = await self._index.find([file_id])
        if file is None or not owner.may_see(file) or file.expires_at_ms <= now_ms():
            raise NoSuchFile(file_id)
        return file

    async def list(
        self, owner: FileOwner, *, after: str, count: int, newest_first: bool
    ) -> list[StoredFile]:
        """Return an owner's own files; raises NoSuchFile when `after` is none of them."""
        self._the_contents()
        ids = await self._index.ids_of(
            owner.name, after=after, count=count, newest_first=newest_first
        )
        if ids is None:
            raise NoSuchFile(after)
        at_ms = now_ms()
        found = await self._index.find(ids)
        return [file for file in found if file and file.expires_at_ms > at_ms]

    async def link(
        self, file: StoredFile, owner: FileOwner, prefix: str, *, kept_s: int = UNHELD_S
    ) -> StoredFile:
        """Give a file a second owner, which keeps its content when the first one deletes it.

        Raises FilesFull, or NoSuchFile when its content has gone.
        """
        created_at_ms = now_ms()
        linked = replace(
            file,
            id=new_file_id(prefix),
            owner=owner.name,
            created_at_ms=created_at_ms,
            expires_at_ms=created_at_ms + kept_s * 1000,
        )
        local = self._the_contents().local
        if local is None:
            linked = replace(linked, content=file.content_id)
            await self._add(linked)
            return linked
        try:
            await local.link(file.id, linked.id)
        except FileNotFoundError:
            raise NoSuchFile(file.id) from None
        except OSError as error:
            raise no_disk(error) from error
        await self._add_or_remove(linked)
        return linked

    async def link_as(self, file: StoredFile, owner: FileOwner, about: About) -> StoredFile:
        """Add another file with the same content and a new description; raises as `link` does."""
        named = replace(
            file,
            filename=about.filename,
            purpose=about.purpose,
            content_type=about.content_type,
        )
        kept_s = about.expires_in_s or self.limits.retention_s
        return await self.link(named, owner, "file_", kept_s=kept_s)

    async def known(self, owner: FileOwner, *, sha256: str, size_bytes: int) -> StoredFile | None:
        """Return a file of this owner with this content, if there is one."""
        self._the_contents()
        file = await self._index.with_sum(owner.name, sha256)
        is_there = file and file.size_bytes == size_bytes and file.expires_at_ms > now_ms()
        return file if is_there else None

    async def add(
        self, file_id: str, owner: FileOwner, about: About, content: Content
    ) -> StoredFile:
        """Add a file whose content is complete; after FilesFull nothing is left of it."""
        file = described(
            file_id,
            owner,
            about,
            size_bytes=content.size_bytes,
            sha256=content.sha256,
            retention_s=self.limits.retention_s,
        )
        await self._add_or_remove(file)
        return file

    async def discard(self, file_id: str) -> None:
        """Remove a content that is to become no file, unless another process has made it one."""
        (is_needed,) = await self._index.are_needed([file_id])
        if not is_needed:
            await self._the_contents().remove(file_id)

    async def content(self, file_id: str) -> StoredContent:
        """Return the content of a file; raises NoSuchFile when it is not there."""
        contents = self._the_contents()
        if (local := contents.local) is None:
            (file,) = await self._index.find([file_id])
            if file is None:
                raise NoSuchFile(file_id)
            return StoredContent(file_id, contents, file=file)
        path = local.path(file_id)
        if not path.is_file():
            where = "PENSTOCK_FILES_DIR. All replicas need the same folder."
            log.error("The content of file %s is not in %s", file_id, where)
            raise NoSuchFile(file_id)
        return StoredContent(file_id, contents, path=path)

    async def find_any(self, file_ids: Sequence[str]) -> Sequence[StoredFile | None]:
        """Return files of any owner; None for one that does not exist."""
        self._the_contents()
        return await self._index.find(file_ids)

    async def used_bytes(self, owner: FileOwner) -> int:
        """Return how many bytes an owner's files have."""
        return (await self._index.usage(owner.name)).own_bytes if self.are_kept else 0

    async def remove(self, file_ids: Sequence[str]) -> None:
        """Remove files and their contents; those that are gone are no error.

        The content goes first: a killed process leaves what names it, and so it is tried again.
        Where files share contents it goes last (see `_remove`), and the sweep removes what is left.
        """
        contents = self._the_contents()
        for file_id, file in zip(file_ids, await self._index.find(file_ids), strict=True):
            if contents.local is not None:
                await contents.remove(file_id)
                if file is not None:
                    await self._index.remove(file)
            elif file is not None:
                await self._remove(file)

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

    @property
    def room(self) -> FileRoom:
        """How much space further files may take."""
        if self._room is None:
            raise NoFileStore
        return self._room

    async def run(self) -> None:
        """Remove what has expired and what killed processes left, until cancelled."""
        if self._contents is None:
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
        contents = self._the_contents()
        stalled = await contents.remove_stalled(older_than_s=left_over_s)
        orphans = 0
        async for some in contents.ids(older_than_s=left_over_s):
            are_needed = await self._index.are_needed(some)
            for content_id, is_needed in zip(some, are_needed, strict=True):
                if not is_needed:
                    await contents.remove(content_id)
                    orphans += 1
        if stalled or orphans:
            log.info(
                "Removed %d stalled uploads and %d contents that the index lacks.", stalled, orphans
            )

    async def _remove(self, file: StoredFile) -> bool:
        """Remove a file; say whether it was there."""
        removed = await self._index.remove(file)
        # Only the index knows whether another file has the content, too.
        if removed is not Removed.SHARED:
            await self._the_contents().remove(file.content_id)
        return bool(removed)

    async def _add(self, file: StoredFile) -> None:
        added = await self._index.add(file, limit_bytes=self.limits.all_bytes)
        if added is Added.GONE:
            raise NoSuchFile(file.content)
        if added is not Added.OK:
            raise self.room.full(added)

    async def _add_or_remove(self, file: StoredFile) -> None:
        try:
            await self._add(file)
        except FilesFull:
            await self._the_contents().remove(file.id)
            raise

    def _the_contents(self) -> Contents:
        if self._contents is None:
            raise NoFileStore
        return self._contents


async def _keep(duty: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        try:
            await duty()
        except (ServiceError, OSError) as error:
            log.warning("Files are not cleaned up now: %s", error)
        await asyncio.sleep(every_s)
