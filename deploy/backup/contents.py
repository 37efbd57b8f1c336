"""The contents of files in a backup, and back in their folder.

    contents/<file id>/<number>   one part of a content; the parts follow each other from 000001 on

A content is immutable, is there before its file is in the index, and goes after it has left.  So a
backup copies the contents that are listed, then takes the moment of what is stored, and then
copies those that became listed meanwhile.  Uploads and deletions go on.
"""

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from redis.exceptions import RedisError

from deploy.backup.archive import Member, Writer
from deploy.backup.client import Client
from deploy.backup.errors import BackupFailed, BadBackup
from deploy.backup.sizes import counted, size
from queue_service.store.file_folder import BadFileFolder, FileFolder
from queue_service.store.file_folder import Writer as ContentWriter

#: The largest part, in bytes: what a backup and a restore hold in memory.
PART_BYTES = 4 * 1024 * 1024

#: Files of one step of a scan.
SCAN_COUNT = 500

#: Seconds between two lines of progress.
SAY_EVERY_S = 5.0

_ID = re.compile(rb"file_[0-9a-f]{32}")
_MEMBER = re.compile(r"contents/(file_[0-9a-f]{32})/(\d{6,9})")


def index_key(prefix: str) -> str:
    """Return the key of the list of files: file_index.py."""
    return f"{prefix}:{{*files}}:files"


@dataclass(slots=True)
class SavedContents:
    """What a backup has of files.

    listed: how many files there are.  missing: of them, those whose content is in no folder here;
    those that were deleted while it was copied are not among them.
    """

    listed: int = 0
    copied: int = 0
    copied_bytes: int = 0
    missing: int = 0


class Copying:
    """Copies the contents of one folder into a backup."""

    def __init__(
        self, writer: Writer, redis: Client, prefix: str, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.saved = SavedContents()
        self._writer = writer
        self._redis = redis
        self._key = index_key(prefix)
        self._folder = FileFolder(folder, durable=False)
        self._copied: set[bytes] = set()
        self._say = say
        self._total_bytes = 0
        self._said_at_s = time.monotonic()

    async def copy_listed(self) -> None:
        """Copy the contents of the files that are listed now."""
        count = int(await self._ask("HLEN", self._key))
        if not count:
            return
        sums = self._key.removesuffix(":files") + ":bytes"
        self._total_bytes = int(await self._ask("HGET", sums, "=") or 0)
        self._say(f"copying the contents of {counted(count)} ({size(self._total_bytes)})")
        cursor = 0
        while True:
            reply = await self._ask("HSCAN", self._key, cursor, "COUNT", SCAN_COUNT)
            cursor = int(reply[0])
            for file_id in reply[1][::2]:
                self._copy(file_id)
            if not cursor:
                return

    async def copy_rest(self, listed: set[bytes]) -> None:
        """Copy those of the files that the backup lists, and count what is not there."""
        self.saved.listed = len(listed)
        gone = [file_id for file_id in listed - self._copied if not self._copy(file_id)]
        for at in range(0, len(gone), SCAN_COUNT):
            some = gone[at : at + SCAN_COUNT]
            still = await self._ask("HMGET", self._key, *some)
            self.saved.missing += sum(one is not None for one in still)

    async def _ask(self, *words: bytes | str | int) -> Any:
        try:
            return await self._redis.ask(*words)
        except (RedisError, OSError, TimeoutError) as error:
            raise BackupFailed(f"Redis refused what a backup needs: {error}") from error

    def _copy(self, file_id: bytes) -> bool:
        """Copy a content; False when it is not there."""
        if file_id in self._copied:
            return True
        if not _ID.fullmatch(file_id):
            return False
        name = file_id.decode()
        try:
            file = _opened(self._folder.path(name))
            if file is None:
                return False
            with file:
                for number, part in enumerate(_parts(file), start=1):
                    self._writer.add(f"contents/{name}/{number:06}", part)
                    self.saved.copied_bytes += len(part)
                    self._tell()
        except _Unreadable as error:
            raise BackupFailed(
                f"the content of {name} cannot be read: {error}; --no-files leaves all out"
            ) from error
        self._copied.add(file_id)
        self.saved.copied += 1
        return True

    def _tell(self) -> None:
        now_s = time.monotonic()
        if now_s - self._said_at_s >= SAY_EVERY_S:
            self._said_at_s = now_s
            self._say(f"copied {size(self.saved.copied_bytes)} of {size(self._total_bytes)}")


class _Unreadable(Exception):
    """A content is there, and cannot be read."""


def _opened(path: Path) -> IO[bytes] | None:
    """Open a content; None if there is none: a link or a pipe is not one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _Unreadable(error.strerror) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    """Read a content; an empty one has one empty part."""
    is_first = True
    while True:
        try:
            part = file.read(PART_BYTES)
        except OSError as error:
            raise _Unreadable(error.strerror) from error
        if not part and not is_first:
            return
        is_first = False
        yield part


class Order:
    """Checks that the parts of each content follow each other, and that each is there once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._last = ("", 0)

    def read(self, member: Member) -> tuple[str, int] | None:
        """Return the file and the number of a part; None for another member; raises BadBackup."""
        match = _MEMBER.fullmatch(member.name)
        if match is None:
            return None
        file_id, number = match[1], int(match[2])
        is_first = number == 1 and file_id not in self._seen
        if not is_first and (file_id, number - 1) != self._last:
            raise BadBackup("the parts of a content one after the other", repr(member.name))
        self._seen.add(file_id)
        self._last = (file_id, number)
        return file_id, number


@dataclass(slots=True)
class PutBack:
    """Writes contents into their folder; None where there is no folder.

    count: contents that were written.  left_out: those that have no folder.
    """

    path: Path | None
    count: int = 0
    left_out: int = 0
    #: Files whose content was not there before.
    _new: list[str] = field(default_factory=list)
    _order: Order = field(default_factory=Order)
    _folder: FileFolder | None = None
    _writing: ContentWriter | None = None

    async def write(self, member: Member) -> bool:
        """Write a part; False when the member is none; raises BadBackup or BackupFailed."""
        found = self._order.read(member)
        if found is None:
            return False
        file_id, number = found
        try:
            if number == 1:
                await self._begin(file_id)
            if self._writing is not None:
                await self._writing.write(member.data)
        except OSError as error:
            raise _not_written(error) from error
        return True

    async def finish(self) -> None:
        """Make the last content complete."""
        writing, self._writing = self._writing, None
        try:
            if writing is not None:
                await writing.finish()
        except OSError as error:
            raise _not_written(error) from error

    async def undo(self) -> None:
        """Remove what was written."""
        if self._writing is not None:
            await self._writing.__aexit__()
        if self._folder is not None:
            for file_id in self._new:
                await self._folder.remove(file_id)

    def missing(self, listed: Mapping[bytes, bytes], *, older: Path | None) -> int:
        """Return how many of the listed files have no content, after a look into an older folder.

        listed: what the list says of each file, by id.
        """
        count = 0
        for file_id, about in listed.items():
            if _is_over(about) or not _ID.fullmatch(file_id):
                continue
            try:
                count += not self._has(file_id.decode(), older)
            except OSError as error:
                raise _not_written(error) from error
        return count

    def _has(self, file_id: str, older: Path | None) -> bool:
        if self.path is None:
            return False
        here = FileFolder(self.path, durable=True).path(file_id)
        if here.is_file() or older is None:
            return here.is_file()
        there = FileFolder(older, durable=True).path(file_id)
        if not there.is_file():
            return False
        self._prepared()
        here.parent.mkdir(mode=0o700, exist_ok=True)
        os.link(there, here, follow_symlinks=False)
        return True

    async def _begin(self, file_id: str) -> None:
        await self.finish()
        if self.path is None:
            self.left_out += 1
            return
        folder = self._prepared()
        place = folder.path(file_id)
        if place.parent.is_symlink():
            raise BackupFailed(f"expected a folder of its own in {place.parent}, got a link")
        # A restore that was killed may have left it.
        (self.path / "incoming" / file_id).unlink(missing_ok=True)
        if not place.is_file():
            self._new.append(file_id)
        self.count += 1
        self._writing = await folder.writer(file_id).__aenter__()

    def _prepared(self) -> FileFolder:
        if self._folder is None:
            assert self.path is not None, "without a folder nothing is written"
            self._folder = FileFolder(self.path, durable=True)
            try:
                self._folder.prepare()
            except BadFileFolder as error:
                raise BackupFailed(f"the folder for files cannot be used: {error}") from error
        return self._folder


def _is_over(about: bytes) -> bool:
    """Say whether the time of a file is over: it is on its way out, with its content."""
    try:
        return bool(json.loads(about)["expires_at_ms"] <= time.time() * 1000)
    except (ValueError, KeyError, TypeError):
        return False


def _not_written(error: OSError) -> BackupFailed:
    return BackupFailed(f"the content of a file cannot be written: {error.strerror or error}")
