"""Payload files live as long as their entries, also where processes are killed in between."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import names
from queue_service.delivery.doorbell import Doorbell
from queue_service.service import files as files_module
from queue_service.service.files import FileLimits, FileOwner, Files
from queue_service.service.payload_files import PayloadFiles
from queue_service.settings.process import Settings
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.entry import NewEntry
from queue_service.store.file_folder import FileFolder
from queue_service.store.file_holders import FileHolders
from queue_service.store.file_index import FileIndex
from queue_service.store.keys import Keys
from queue_service.store.rules import Limits
from queue_service.store.scripts import Scripts
from tests.conftest import StartService
from tests.fair.shop import SERVICE, Shop
from tests.running import TOKEN
from tests.waiting import wait_until

LIMITS = Limits(100, 2**30, inline_bytes=10)
#: Of the test with a large payload.
LARGE_BYTES = int(os.environ.get("PENSTOCK_TEST_LARGE_MB", "256")) * 1024 * 1024
MOST_GROWTH_BYTES = 64 * 1024 * 1024


@dataclass
class Place:
    """The files of one service, beside its queue."""

    files: Files
    payloads: PayloadFiles
    shop: Shop
    folder: Path

    def stored(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def place(redis_url: str, key_prefix: str, tmp_path: Path) -> AsyncIterator[Place]:
    settings = Settings(redis_url=redis_url, key_prefix=key_prefix)
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    scripts = Scripts(servers, confirmation, timeout_s=30.0)
    contents = FileFolder(tmp_path, durable=False)
    contents.prepare()

    def holders(service: str, incarnation: int) -> FileHolders:
        return FileHolders(scripts, Keys(key_prefix, service, incarnation))

    index = FileIndex(scripts, key_prefix=key_prefix)
    files = Files(index, contents, FileLimits(2**30, 0, 0, 3600), holders)
    payloads = PayloadFiles(files, holders(SERVICE, 0), Doorbell(), service=SERVICE, incarnation=0)
    shop = Shop(scripts, Keys(key_prefix, SERVICE))
    place = Place(files, payloads, shop, tmp_path)
    yield place
    await shop.empty()
    await payloads.remove_unneeded()
    assert place.stored() == []
    await servers.aclose()


async def test_what_was_stored_and_never_put_is_removed_when_its_time_is_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "UNHELD_S", -1)
    monkeypatch.setattr("queue_service.service.payload_files.UNHELD_S", -1)
    # Killed between the content and the put.
    await place.payloads.store_bytes(b"never put" * 10, LIMITS)
    entry = await place.payloads.offload(NewEntry("one", b"put" * 10), LIMITS)
    await place.shop.store.put(entry)
    monkeypatch.setattr(files_module, "UNHELD_S", 3600)
    assert len(place.stored()) == 2
    await place.files.expire()
    (kept,) = place.stored()
    assert kept == entry.files[0].id
    # It was given more time, and goes with its entry.
    await place.files.sweep(left_over_s=-1)
    await place.files.expire()
    assert place.stored() == [kept]


async def test_a_killed_removal_is_repeated(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = await place.payloads.offload(NewEntry("one", b"put" * 10), LIMITS)
    stored = await place.shop.store.put(entry)
    await place.shop.store.delete([getattr(stored, "index")])  # noqa: B009

    async def killed(_: FileHolders, file_ids: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as at_the_end:
        # After the content is gone, before the list says so.
        at_the_end.setattr(FileHolders, "forget", killed)
        with pytest.raises(OSError, match="killed"):
            await place.payloads.remove_unneeded()
    assert place.stored() == []
    await place.payloads.remove_unneeded()
    assert await place.payloads.find_unneeded() == []


async def test_a_link_survives_the_upload_and_a_sweep(place: Place) -> None:
    owner = FileOwner("owner:us")
    async with await place.files.upload(owner, announced_bytes=None) as upload:
        await upload.write(b"a picture")
        uploaded = await upload.finish(files_module.About("cat.png", "user_data", "image/png"))
    linked = await place.payloads.link(owner, uploaded.id)
    await place.shop.store.put(NewEntry("one", b"{}", files=(linked,)))
    await place.files.delete(owner, uploaded.id)
    await place.files.sweep()
    assert await place.payloads.read(linked) == b"a picture"
    assert (linked.content_type, linked.filename) == ("image/png", "cat.png")


async def test_the_files_of_a_deleted_service_go_with_it(place: Place) -> None:
    for name in ("one", "two"):
        entry = await place.payloads.offload(NewEntry(name, b"put" * 10), LIMITS)
        await place.shop.store.put(entry)
    assert len(place.stored()) == 2
    await place.shop.store.drop()
    await place.payloads.remove_all()
    assert place.stored() == []


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


@pytest.mark.timeout(300)
async def test_a_large_payload_is_never_in_memory_and_a_killed_upload_is_not_there(
    start_service: StartService, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    settings: dict[str, Any] = {"files_dir": str(folder), "files_reserve_mb": 0}
    service = await start_service({"name": "svc"}, **settings)
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as made:
        made.truncate(LARGE_BYTES)
    queue = f"{service.url}{names.EAS_PREFIX}/svc"
    jobs = f"{service.url}/v1/services/svc/jobs"
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        async with session.post(queue, data=b"x" * 100_000) as answer:
            assert answer.status == 200
        async with session.get(queue, params={names.AUTO_DELETE: "true"}) as answer:
            assert len(await answer.read()) == 100_000
        before = peak_bytes(service.pid)
        for address, status in ((queue, 200), (jobs, 202)):
            with sparse.open("rb") as body:
                async with session.post(address, data=body) as answer:
                    assert answer.status == status
        for _ in range(2):
            size = 0
            async with session.get(queue, params={names.AUTO_DELETE: "true"}) as answer:
                async for piece in answer.content.iter_chunked(2**20):
                    size += len(piece)
            assert size == LARGE_BYTES
        assert peak_bytes(service.pid) - before < MOST_GROWTH_BYTES

        # Killed in the middle of an upload: nothing is there but what the sweep removes.
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 2**20

                async def has_begun() -> bool:
                    return any((folder / "incoming").iterdir())

                await wait_until(has_begun, "the upload has begun")
                service.kill_all()

        with pytest.raises(aiohttp.ClientError):
            await session.post(queue, data=endless())
        again = await start_service({"name": "svc"}, **settings)
        async with session.get(f"{again.url}{names.EAS_PREFIX}/svc") as answer:
            assert answer.status == 204
    left = FileFolder(folder, durable=False)
    assert [one async for one in left.ids(older_than_s=-1)] == []
    assert await left.remove_stalled(older_than_s=-1) == 1
