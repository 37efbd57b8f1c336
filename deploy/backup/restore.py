"""Writes a backup into an empty store.

A file is read to its end and checked before anything is changed.  After an error the store is empty
again, so a part of a backup is never served.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deploy.backup.archive import ABOUT, Member, about_of, read
from deploy.backup.client import Client
from deploy.backup.contents import Order, PutBack, index_key
from deploy.backup.errors import BadBackup
from deploy.backup.replay import Replay
from deploy.backup.resp import decode
from deploy.local.data_dir import write_private

_FILE = re.compile(r"files/([a-z-]+)/([A-Za-z0-9_][A-Za-z0-9_.-]*)")

#: The files that a folder of a local mode takes: no other, such as its lock, is ever replaced.
_NAMES = {
    "data": re.compile(r"token|worker-token|admin-token"),
    "services": re.compile(r"[^/]+\.json"),
}


@dataclass(slots=True)
class Restored:
    """What was restored.

    files: those of tokens and services.  contents: of uploaded files.  without_place: of these,
    those that have no folder here.  missing: files in the list that have no content now.
    left_out: files that have no place here.
    """

    made_at: str = ""
    keys: int = 0
    files: int = 0
    contents: int = 0
    without_place: int = 0
    missing: int = 0
    left_out: list[str] = field(default_factory=list)


def checked(file: IO[bytes]) -> IO[bytes]:
    """Return the file, read once and found whole; what comes from a pipe is kept on disk."""
    if not file.seekable():
        kept = tempfile.TemporaryFile()  # noqa: SIM115 - the caller reads it
        shutil.copyfileobj(file, kept)
        kept.seek(0)
        file = kept
    prefix, order = "", Order()
    for member in read(file):
        order.read(member)
        if member.name == ABOUT:
            prefix = str(about_of(member).get("key_prefix"))
        elif member.name.startswith("redis/"):
            for _ in decode(member.data, prefix=prefix.encode()):
                pass
        elif _FILE.fullmatch(member.name):
            _text(member)
    file.seek(0)
    return file


@dataclass(frozen=True, slots=True)
class Uploads:
    """Where the contents of uploaded files go.

    folder: None restores none.  older: a folder that may have those that the backup lacks.
    """

    folder: Path | None = None
    older: Path | None = None


async def restore(
    file: IO[bytes],
    redis: Client,
    prefix: str,
    *,
    places: Mapping[str, Path],
    uploads: Uploads,
    where: str,
    force: bool,
) -> Restored:
    """Restore a file that was checked; raises BadBackup, StoreInUse, StoreNotEmpty, BackupFailed.

    places: where the files of each folder of the archive go.  where: the store, for people.
    """
    replay, contents = Replay(redis, prefix, listing=index_key(prefix)), PutBack(uploads.folder)
    await replay.check_unused()
    if not force:
        await replay.check_empty(where)
    members = read(file)
    restored = _begin(members, prefix)
    if force:
        await replay.empty()
    files: list[tuple[Path, str]] = []
    try:
        for member in members:
            if member.name.startswith("redis/"):
                await replay.write(member)
            elif await contents.write(member):
                pass
            elif place := _place(member, places):
                files.append((place, _text(member)))
            else:
                restored.left_out.append(member.name)
        await contents.finish()
        await replay.finish()
        for path, text in files:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(path, text)
        restored.missing = contents.missing(replay.listed, older=uploads.older)
    except BaseException:
        # A queue service that starts now must not serve a part.
        await contents.undo()
        await replay.empty()
        raise
    restored.keys, restored.files = replay.keys, len(files)
    restored.contents, restored.without_place = contents.count, contents.left_out
    return restored


def _begin(members: Iterator[Member], prefix: str) -> Restored:
    first = next(members, None)
    if first is None or first.name != ABOUT:
        raise BadBackup(f"{ABOUT} first", "another member")
    about = about_of(first)
    if about.get("key_prefix") != prefix:
        raise BadBackup(
            f"a backup of the key prefix {prefix}",
            f"one of {str(about.get('key_prefix'))[:64]!r}; set PENSTOCK_KEY_PREFIX to it",
        )
    return Restored(made_at=str(about.get("made_at", ""))[:64])


def _place(member: Member, places: Mapping[str, Path]) -> Path | None:
    """Return where a file goes; None when it has no place here."""
    match = _FILE.fullmatch(member.name)
    folder = places.get(match[1]) if match else None
    if match is None or folder is None:
        return None
    names = _NAMES.get(match[1])
    return folder / match[2] if names is None or names.fullmatch(match[2]) else None


def _text(member: Member) -> str:
    try:
        return member.data.decode()
    except UnicodeError:
        raise BadBackup(f"text in {member.name!r:.80}", "other bytes") from None
