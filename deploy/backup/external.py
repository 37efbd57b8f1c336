"""Backups of a queue service that variables set up: its Redis, and its folders of tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import IO

from deploy.backup import restore as restoring
from deploy.backup.restore import Restored, restore
from deploy.backup.save import Saved, Uploads, save
from deploy.backup.store import opened, settings_of
from queue_service.settings.process import Settings


async def save_external(
    file: IO[bytes],
    redis_url: str = "",
    *,
    with_files: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Saved:
    """Back up the Redis at this URL, by default that of the environment.

    with_files: with the contents of uploaded files.  say: for progress.
    """
    settings = settings_of(redis_url)
    folders = {
        name: sorted(path for path in folder.iterdir() if path.is_file())
        for name, folder in _folders(settings).items()
        if folder.is_dir()
    }
    uploads = Uploads(_files(settings) if with_files else None, say)
    async with opened(settings) as redis:
        return await save(file, redis, settings.key_prefix, folders=folders, uploads=uploads)


async def restore_external(file: IO[bytes], redis_url: str = "", *, force: bool) -> Restored:
    """Restore into the Redis at this URL, by default that of the environment."""
    settings = settings_of(redis_url)
    async with opened(settings) as redis:
        return await restore(
            file,
            redis,
            settings.key_prefix,
            places=_folders(settings),
            uploads=restoring.Uploads(_files(settings)),
            where=f"the keys {settings.key_prefix}:* of this Redis",
            force=force,
        )


def _files(settings: Settings) -> Path | None:
    return Path(settings.files_dir) if settings.files_dir else None


def _folders(settings: Settings) -> dict[str, Path]:
    folders = {"tokens": settings.token_dir, "worker-tokens": settings.worker_token_dir}
    return {name: Path(folder) for name, folder in folders.items() if folder}
