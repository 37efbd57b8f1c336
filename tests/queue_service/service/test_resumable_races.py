"""Uploads that go on after an interruption, when several requests meet."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from queue_service.service.file_terms import About, FileLimits, FileOwner
from queue_service.service.files import Files
from queue_service.service.resumable import Resumables
from queue_service.settings.process import Settings
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.file_folder import FileFolder
from queue_service.store.file_index import FileIndex
from queue_service.store.partials_in_folder import PartialsInFolder
from queue_service.store.partials_in_s3 import PartialsInS3
from queue_service.store.s3_contents import S3Contents
from queue_service.store.scripts import Scripts
from queue_service.store.upload_index import UploadIndex
from tests.queue_service.store.test_s3_contents import contents_of
from tests.s3_server import Bucket

OWNER = FileOwner("owner:somebody")
ABOUT = About("a.bin", "user_data", "application/octet-stream")
LIMITS = FileLimits(file_bytes=2**30, all_bytes=0, free_bytes=0, retention_s=3600)
DATA = b"0123456789" * 100_000


@dataclass
class Indexes:
    """The indexes of one Redis."""

    files: FileIndex
    uploads: UploadIndex


@pytest.fixture
async def index(redis_url: str, key_prefix: str) -> AsyncIterator[Indexes]:
    settings = Settings(redis_url=redis_url, key_prefix=key_prefix)
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    scripts = Scripts(servers, confirmation, timeout_s=30.0)
    yield Indexes(
        FileIndex(scripts, key_prefix=key_prefix), UploadIndex(scripts, key_prefix=key_prefix)
    )
    await servers.aclose()


class SlowToBegin(PartialsInFolder):
    """Begins the first content when it may."""

    def __init__(self, folder: FileFolder) -> None:
        super().__init__(folder)
        self.begins, self.may = asyncio.Event(), asyncio.Event()

    async def create(self, file_id: str) -> None:
        if not self.begins.is_set():
            self.begins.set()
            await self.may.wait()
        await super().create(file_id)


async def test_an_upload_that_is_beginning_is_not_forgotten_when_another_begins(
    index: Indexes, tmp_path: Path
) -> None:
    folder = FileFolder(tmp_path, durable=False)
    folder.prepare()
    partials = SlowToBegin(folder)
    uploads = Resumables(Files(index.files, folder, LIMITS), index.uploads, partials)
    first = asyncio.create_task(uploads.create(OWNER, ABOUT, size_bytes=10))
    await partials.begins.wait()
    second = await uploads.create(OWNER, ABOUT, size_bytes=20)
    partials.may.set()
    for begun in (await first, second):
        assert (await uploads.find(OWNER, begun.id)).offset == 0
        await uploads.abandon(OWNER, begun.id)


class Late(PartialsInS3):
    """Of a process that is slow after it has seen how much has arrived."""

    def __init__(self, contents: S3Contents) -> None:
        super().__init__(contents)
        self.has_seen, self.may = asyncio.Event(), asyncio.Event()

    async def size_bytes(self, file_id: str) -> int | None:
        found = await super().size_bytes(file_id)
        self.has_seen.set()
        await self.may.wait()
        return found


async def test_a_late_process_does_not_empty_what_another_has_completed(
    index: Indexes, bucket: Bucket
) -> None:
    contents = contents_of(bucket)
    files = Files(index.files, contents, LIMITS)
    partials, late = PartialsInS3(contents), Late(contents)
    one, other = (Resumables(files, index.uploads, those) for those in (partials, late))
    begun = await one.create(OWNER, ABOUT, size_bytes=len(DATA))
    # The process that was to make it a file is killed here.
    async with partials.appending(begun.id) as appending:
        await appending.write(DATA)
    looking = asyncio.create_task(other.find(OWNER, begun.id))
    await late.has_seen.wait()
    assert (await one.find(OWNER, begun.id)).offset == len(DATA)
    late.may.set()
    assert (await looking).offset == len(DATA)
    assert await (await files.content(begun.id)).whole() == DATA
    await files.remove([begun.id])
    assert await bucket.stored() == []
