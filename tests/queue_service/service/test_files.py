"""Files are kept until they expire, and killed processes leave nothing for ever."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from queue_service.service.file_errors import FilesFull, NoSuchFile
from queue_service.service.files import About, FileLimits, FileOwner, Files
from queue_service.settings.process import Settings
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.file_folder import BadFileFolder, FileFolder
from queue_service.store.file_index import FileIndex, StoredFile, Usage
from queue_service.store.scripts import Scripts

OURS, THEIRS = FileOwner("owner:ours"), FileOwner("owner:theirs")
ABOUT = About("cat.png", "vision", "image/png")


@asynccontextmanager
async def files_of(
    redis_url: str, key_prefix: str, folder: Path, *, retention_s: int = 3600, all_bytes: int = 0
) -> AsyncIterator[tuple[Files, FileIndex, FileFolder]]:
    settings = Settings(redis_url=redis_url)
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    index = FileIndex(Scripts(servers, confirmation, timeout_s=5), key_prefix=key_prefix)
    contents = FileFolder(folder, durable=True)
    contents.prepare()
    limits = FileLimits(2**30, all_bytes, 0, retention_s)
    try:
        yield Files(index, contents, limits), index, contents
    finally:
        await servers.aclose()


async def add(files: Files, owner: FileOwner = OURS, content: bytes = b"12345") -> StoredFile:
    async with await files.upload(owner, announced_bytes=None) as upload:
        await upload.write(content)
        return await upload.finish(ABOUT)


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_a_file_whose_time_is_over_is_removed(
    redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    async with files_of(redis_url, key_prefix, tmp_path, retention_s=-1) as (files, index, _):
        made = await add(files)
        with pytest.raises(NoSuchFile):
            await files.find(OURS, made.id)
        assert await files.list(OURS, after="", count=10, newest_first=True) == []
        assert stored(tmp_path) == [made.id]
        await files.expire()
        assert stored(tmp_path) == []
        assert await index.find([made.id]) == [None]
        assert await index.usage(OURS.name) == Usage(0, 0)


async def test_a_sweep_removes_what_killed_processes_left(
    redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    async with files_of(redis_url, key_prefix, tmp_path) as (files, _, contents):
        kept = await add(files)
        # Killed between the content and the index, and in the middle of an upload.
        async with contents.writer("file_not_in_the_index") as writer:
            await writer.write(b"x")
            await writer.finish()
        stalled = contents.writer("file_stalled")
        await stalled.__aenter__()

        await files.sweep()
        assert len(stored(tmp_path)) == 3, "what may still be under way stays"
        await files.sweep(left_over_s=-1)
        assert stored(tmp_path) == [kept.id]
        await stalled.__aexit__()
        await files.delete(OURS, kept.id)


async def test_bytes_are_counted_by_owner(redis_url: str, key_prefix: str, tmp_path: Path) -> None:
    async with files_of(redis_url, key_prefix, tmp_path) as (files, index, _):
        ours, theirs = await add(files), await add(files, THEIRS, b"123")
        assert await index.usage(OURS.name) == Usage(5, 8)
        # A client that repeats what was not confirmed changes nothing.
        assert await index.add(ours, limit_bytes=1) == "ok"
        assert await index.usage(OURS.name) == Usage(5, 8)
        await files.delete(OURS, ours.id)
        assert not await index.remove(ours)
        assert await index.usage(OURS.name) == Usage(0, 3)
        await files.delete(THEIRS, theirs.id)


async def test_an_upload_that_no_longer_fits_at_its_end_leaves_nothing(
    redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    async with files_of(redis_url, key_prefix, tmp_path, all_bytes=100) as (files, _, _):
        async with await files.upload(OURS, announced_bytes=None) as upload:
            await upload.write(b"x" * 60)
            taken = await add(files, THEIRS, b"x" * 50)
            with pytest.raises(FilesFull, match="all files together"):
                await upload.finish(ABOUT)
        assert stored(tmp_path) == [taken.id]
        await files.delete(THEIRS, taken.id)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(BadFileFolder, match=str(in_the_way)):
        FileFolder(in_the_way / "files", durable=False).prepare()
