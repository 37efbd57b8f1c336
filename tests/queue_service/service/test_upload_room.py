"""Unfinished uploads take room: what they have announced is reserved until they end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from queue_service.service.file_errors import FilesFull, NoSuchFile
from queue_service.service.file_terms import About, FileLimits, FileOwner
from queue_service.service.file_upload import now_ms
from queue_service.service.files import Files
from queue_service.service.resumable import MOST_OF_OWNER, Resumable, Resumables
from queue_service.settings.process import Settings
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.file_folder import FileFolder
from queue_service.store.file_index import FileIndex, Usage
from queue_service.store.partials_in_folder import PartialsInFolder
from queue_service.store.scripts import Scripts
from queue_service.store.upload_index import UploadIndex

OURS, THEIRS = FileOwner("owner:ours"), FileOwner("owner:theirs")
ABOUT = About("cat.png", "vision", "image/png")
DAY_MS = 86_400_000


@dataclass
class Place:
    """Two processes with one folder and one Redis; all files together have 1000 bytes."""

    one: Resumables
    other: Resumables
    files: Files
    index: FileIndex
    uploads: UploadIndex

    async def add(self, owner: FileOwner, size: int) -> str:
        async with await self.files.upload(owner, announced_bytes=size) as upload:
            await upload.write(b"x" * size)
            return (await upload.finish(ABOUT)).id

    async def append(self, upload: Resumable, data: bytes) -> Resumable:
        async def pieces() -> AsyncIterator[bytes]:
            yield data

        return await self.one.append(OURS, upload.id, upload.offset, pieces())


@pytest.fixture
async def place(redis_url: str, key_prefix: str, tmp_path: Path) -> AsyncIterator[Place]:
    settings = Settings(redis_url=redis_url, key_prefix=key_prefix)
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    scripts = Scripts(servers, confirmation, timeout_s=30.0)
    index = FileIndex(scripts, key_prefix=key_prefix)
    uploads = UploadIndex(scripts, key_prefix=key_prefix)
    folder = FileFolder(tmp_path, durable=False)
    folder.prepare()
    files = Files(index, folder, FileLimits(2**30, 1000, 0, 3600))
    one, other = (Resumables(files, uploads, PartialsInFolder(folder)) for _ in range(2))
    yield Place(one, other, files, index, uploads)
    for owner in (OURS, THEIRS):
        for upload in await uploads.of(owner.name):
            await one.abandon(owner, upload)
        await files.remove_all_of(owner)
    assert await index.usage(OURS.name) == Usage(0, 0)
    await servers.aclose()


async def test_what_an_upload_announces_counts_until_it_ends(place: Place) -> None:
    begun = await place.one.create(OURS, ABOUT, size_bytes=600)
    assert await place.index.usage(OURS.name) == Usage(600, 600, 600)
    with pytest.raises(FilesFull, match="all files together"):
        await place.other.create(THEIRS, ABOUT, size_bytes=401)
    with pytest.raises(FilesFull, match="all files together"):
        await place.add(THEIRS, 401)
    with pytest.raises(FilesFull, match="share"):
        await place.other.create(OURS, ABOUT, size_bytes=300)
    with pytest.raises(FilesFull, match="share"):
        await place.add(OURS, 300)
    await place.add(THEIRS, 100)
    begun = await place.append(begun, b"x" * 200)
    assert await place.index.usage(OURS.name) == Usage(600, 700, 400)
    # It has its place already, also when it becomes a file.
    await place.append(begun, b"x" * 400)
    assert await place.index.usage(OURS.name) == Usage(600, 700, 0)
    assert await place.files.find(OURS, begun.id)


async def test_an_upload_that_is_given_up_releases_its_room(place: Place) -> None:
    begun = await place.one.create(OURS, ABOUT, size_bytes=600)
    begun = await place.append(begun, b"x" * 10)
    await place.other.abandon(OURS, begun.id)
    assert await place.index.usage(OURS.name) == Usage(0, 0)


async def test_the_limit_of_uploads_holds_for_concurrent_requests(place: Place) -> None:
    both = [place.one, place.other] * MOST_OF_OWNER
    done = await asyncio.gather(
        *(one.create(OURS, ABOUT, size_bytes=1) for one in both), return_exceptions=True
    )
    begun = [one for one in done if isinstance(one, Resumable)]
    refused = [one for one in done if isinstance(one, FilesFull)]
    assert (len(begun), len(refused)) == (MOST_OF_OWNER, MOST_OF_OWNER)
    assert len(await place.uploads.of(OURS.name)) == MOST_OF_OWNER


async def test_uploads_that_a_killed_process_has_ended_make_room(
    place: Place, tmp_path: Path
) -> None:
    begun = [await place.one.create(OURS, ABOUT, size_bytes=1) for _ in range(MOST_OF_OWNER)]
    for one in begun[:3]:
        (tmp_path / "resumable" / one.id).unlink()
    await place.other.create(OURS, ABOUT, size_bytes=1)
    assert len(await place.uploads.of(OURS.name)) == MOST_OF_OWNER - 2


async def test_an_upload_is_kept_as_long_as_it_makes_progress(place: Place) -> None:
    slow, silent = [await place.one.create(OURS, ABOUT, size_bytes=100) for _ in range(2)]
    for one in (slow, silent):
        await place.uploads.progress(
            OURS.name, one.id, arrived_bytes=0, now_ms=now_ms() - 3 * DAY_MS
        )
    slow = await place.append(slow, b"x")
    await place.other.sweep()
    assert (await place.one.find(OURS, slow.id)).offset == 1
    with pytest.raises(NoSuchFile):
        await place.one.find(OURS, silent.id)
    assert await place.index.usage(OURS.name) == Usage(100, 100, 99)
