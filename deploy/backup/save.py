"""Makes a backup: what a Redis stores, and files with tokens."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO

from deploy.backup.archive import Writer
from deploy.backup.client import Client
from deploy.backup.contents import Copying, SavedContents, index_key
from deploy.backup.snapshot import Snapshot

#: Bytes of commands after which a member ends; the next command begins another one.
MEMBER_BYTES = 4 * 1024 * 1024

#: The largest file of tokens or of a service.
MOST_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Saved:
    """What a backup has.

    files: those of tokens and services.  paused_s: how long writes were held back while it was
    made.  contents: of uploaded files.
    """

    keys: int
    stored_bytes: int
    files: int
    paused_s: float
    contents: SavedContents = field(default_factory=SavedContents)


@dataclass(frozen=True, slots=True)
class Uploads:
    """Which contents of uploaded files to save.

    folder: where they are; None saves none.  say: for progress.
    """

    folder: Path | None = None
    say: Callable[[str], None] = lambda line: None


async def save(
    file: IO[bytes],
    redis: Client,
    prefix: str,
    *,
    folders: Mapping[str, list[Path]],
    uploads: Uploads,
) -> Saved:
    """Write a backup; raises BackupFailed or OSError.

    folders: files to keep, by the name of a folder in the archive.
    """
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    writer = Writer(
        file, {"made_at": made_at, "version": version("penstock"), "key_prefix": prefix}
    )
    files = 0
    for folder, paths in folders.items():
        for path in paths:
            writer.add(f"files/{folder}/{path.name}", path.read_bytes()[:MOST_FILE_BYTES])
            files += 1
    copying = None
    if uploads.folder is not None:
        copying = Copying(writer, redis, prefix, uploads.folder, uploads.say)
        await copying.copy_listed()
    snapshot = Snapshot(redis, prefix, listing=index_key(prefix))
    stored_bytes = members = 0
    kept = bytearray()

    def end_member() -> None:
        nonlocal members, stored_bytes
        if kept:
            members += 1
            stored_bytes += len(kept)
            writer.add(f"redis/{members:06}.resp", bytes(kept))
            kept.clear()

    # Closed at once after an error of the file: Redis holds writes back until then.
    async with aclosing(snapshot.commands()) as commands:
        async for command in commands:
            kept += command
            if len(kept) >= MEMBER_BYTES:
                end_member()
    end_member()
    contents = SavedContents(listed=len(snapshot.listed))
    if copying is not None:
        # Only now: Redis must not wait for these.
        await copying.copy_rest(snapshot.listed)
        contents = copying.saved
    writer.end()
    return Saved(snapshot.keys, stored_bytes, files, snapshot.paused_s, contents)
