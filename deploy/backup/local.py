"""Backups of a local mode: its Redis, and its data directory."""

import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from deploy.backup import restore as restoring
from deploy.backup.errors import BackupFailed, StoreNotEmpty
from deploy.backup.restore import Restored, restore
from deploy.backup.save import Saved, Uploads, save
from deploy.backup.store import opened, settings_of
from deploy.errors import NotRunning
from deploy.local.data_dir import DataDir
from deploy.local.redis_server import RedisServer

#: The key prefix of every local mode.
PREFIX = "ps"

#: The files of a data directory that a backup keeps.
_TOKENS = ("token", "worker-token", "admin-token")


async def save_local(
    file: IO[bytes],
    data_dir: DataDir,
    *,
    with_files: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Saved:
    """Back up a local mode, whether it runs or not.

    with_files: with the contents of uploaded files.  say: for progress.
    """
    uploads = Uploads(data_dir.files if with_files else None, say)
    folders = {
        "data": [path for name in _TOKENS if (path := data_dir.path / name).is_file()],
        "services": sorted(data_dir.services.glob("*.json")),
    }
    try:
        data_dir.running()
    except NotRunning:
        if not _has_data(data_dir):
            raise
    else:
        if not (redis_url := data_dir.redis_url()):
            raise BackupFailed("the local mode is of an older version: restart it, or stop it")
        async with opened(settings_of(redis_url)) as redis:
            return await save(file, redis, PREFIX, folders=folders, uploads=uploads)
    with data_dir.lock():
        data_dir.check_whole()
        async with _own_redis(data_dir) as redis_url, opened(settings_of(redis_url)) as redis:
            return await save(file, redis, PREFIX, folders=folders, uploads=uploads)


async def restore_local(file: IO[bytes], data_dir: DataDir, *, force: bool) -> Restored:
    """Restore a local mode that does not run; with `force`, what was there is kept aside."""
    with data_dir.lock():
        if _has_data(data_dir) and not force:
            raise StoreNotEmpty(str(data_dir.path))
        with data_dir.restoring():
            aside = _move_aside(data_dir)
            # A backup without contents may still find them in what it replaces.
            older = _files_of(aside)
            try:
                return await _restore_into(file, data_dir, older)
            except BaseException:
                _remove(data_dir, with_files=older is not None)
                if aside is not None:
                    for path in aside.iterdir():
                        path.rename(data_dir.path / path.name)
                    aside.rmdir()
                raise


async def _restore_into(file: IO[bytes], data_dir: DataDir, older: Path | None) -> Restored:
    async with _own_redis(data_dir) as redis_url, opened(settings_of(redis_url)) as redis:
        return await restore(
            file,
            redis,
            PREFIX,
            places={"data": data_dir.path, "services": data_dir.services},
            uploads=restoring.Uploads(data_dir.files, older),
            where=str(data_dir.path),
            force=False,
        )


def _parts(data_dir: DataDir) -> list[Path]:
    parts = [data_dir.redis, data_dir.services, *(data_dir.path / name for name in _TOKENS)]
    return [part for part in parts if part.exists()]


def _has_data(data_dir: DataDir) -> bool:
    return any(part.is_file() or any(part.iterdir()) for part in _parts(data_dir))


def _move_aside(data_dir: DataDir) -> Path | None:
    """Move what is there into a folder beside it; None when there is nothing."""
    parts = _parts(data_dir)
    if not parts:
        # Contents alone may have been copied there for this restore.
        return None
    if data_dir.files.is_dir() and not _is_elsewhere(data_dir.files):
        parts.append(data_dir.files)
    prefix = time.strftime("before-restore-%Y%m%dT%H%M%S-")
    aside = Path(tempfile.mkdtemp(prefix=prefix, dir=data_dir.path))
    for part in parts:
        part.rename(aside / part.name)
    return aside


def _is_elsewhere(folder: Path) -> bool:
    """Say whether a folder is on another disk: it stays, and its contents are used as they are."""
    return folder.is_symlink() or folder.is_mount()


def _files_of(aside: Path | None) -> Path | None:
    files = None if aside is None else DataDir(aside).files
    return files if files is not None and files.is_dir() else None


def _remove(data_dir: DataDir, *, with_files: bool) -> None:
    files = [data_dir.files] if with_files and data_dir.files.exists() else []
    for part in [*_parts(data_dir), *files]:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()


@asynccontextmanager
async def _own_redis(data_dir: DataDir) -> AsyncIterator[str]:
    """Run the local mode's Redis alone; its directory must be locked."""
    server = RedisServer(data_dir.redis, password=secrets.token_urlsafe())
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()
