"""The contents of uploaded files: in a backup, and back in their folder."""

import asyncio
import io
import os
import secrets
import stat
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from deploy.backup import contents
from deploy.backup.archive import Writer
from deploy.backup.contents import index_key
from deploy.backup.describe import restored_line, saved_line
from deploy.backup.errors import BackupFailed, BadBackup
from deploy.backup.external import restore_external, save_external
from deploy.backup.restore import Restored, checked
from deploy.backup.save import Saved
from deploy.local.redis_server import RedisServer
from tests.running import TOKEN, QueueServiceProcess, service_env
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

PREFIX = "ps"
FILE_ID = "file_" + "0a" * 16


class Files:
    """The files of a queue service that runs."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = f"{url}/v1/files"
        self._session = session

    async def upload(self, data: bytes) -> str:
        async with self._session.post(f"{self._url}?filename=f", data=data) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    async def download(self, file_id: str) -> bytes | None:
        """Return a content; None without one."""
        async with self._session.get(f"{self._url}/{file_id}/content") as answer:
            return await answer.read() if answer.status == 200 else None

    async def delete(self, file_id: str) -> None:
        async with self._session.delete(f"{self._url}/{file_id}") as answer:
            assert answer.status == 200

    async def ids(self) -> list[str]:
        async with self._session.get(f"{self._url}?limit=10000") as answer:
            return [one["id"] for one in (await answer.json())["data"]]


@asynccontextmanager
async def serving(redis: RedisServer, folder: Path) -> AsyncIterator[Files]:
    env = service_env(
        redis_url=redis.url,
        key_prefix=PREFIX,
        services=[{"name": "svc"}],
        files_dir=folder,
        files_reserve_mb=0,
    )
    service = QueueServiceProcess(env, log_path=folder.with_suffix(".log"))
    try:
        await service.start()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            yield Files(service.url, session)
        await service.stop()
    finally:
        service.kill_all()


async def back_up(
    redis: RedisServer, folder: Path | str, *, with_files: bool = True
) -> tuple[bytes, Saved, list[str]]:
    """Return a backup, what it has, and what was said meanwhile."""
    file, said = io.BytesIO(), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_FILES_DIR", str(folder))
        saved = await save_external(file, redis.url, with_files=with_files, say=said.append)
    return file.getvalue(), saved, said


async def restore(
    data: bytes, redis: RedisServer, folder: Path | str, *, force: bool = False
) -> Restored:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_FILES_DIR", str(folder))
        return await restore_external(checked(io.BytesIO(data)), redis.url, force=force)


def kept_in(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, by its path there."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


async def test_contents_are_there_on_an_empty_machine(
    machines: tuple[RedisServer, RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "PART_BYTES", 1000)
    monkeypatch.setattr(contents, "SAY_EVERY_S", 0.0)
    old, new = machines
    texts = [b"", b"x", secrets.token_bytes(3000), secrets.token_bytes(3001)]
    async with serving(old, tmp_path / "old-files") as files:
        uploaded = {await files.upload(text): text for text in texts}
        data, saved, said = await back_up(old, tmp_path / "old-files")
    assert said[0] == "copying the contents of 4 uploads (6.0 kB)"
    assert said[-1] == "copied 6.0 kB of 6.0 kB"
    assert "the contents of 4 uploads (6.0 kB)" in saved_line(saved)
    # However large a file is, no member is larger than a part.
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        parts = [one.size for one in tar if one.name.startswith("contents/")]
    assert (max(parts), len(parts)) == (1000, 1 + 1 + 3 + 4)

    folder = tmp_path / "new-files"
    restored = await restore(data, new, folder)
    assert "the contents of 4 uploads" in restored_line(restored)
    assert kept_in(folder) == kept_in(tmp_path / "old-files")
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    async with serving(new, folder) as files:
        assert {one: await files.download(one) for one in await files.ids()} == uploaded


async def test_uploads_and_deletions_go_on_during_a_backup(
    machines: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    old, new = machines
    folder = tmp_path / "old-files"
    async with serving(old, folder) as files:
        stays = {await files.upload(text): text for text in (b"stays", b"stays too")}
        ended, uploaded, deleted = False, dict[str, bytes](), set[str]()

        async def change() -> None:
            while not ended:
                text = secrets.token_bytes(2000)
                uploaded[await files.upload(text)] = text
                if len(uploaded) > 10 and len(uploaded) % 2:
                    oldest = list(uploaded)[-10]
                    await files.delete(oldest)
                    deleted.add(oldest)

        changing = asyncio.create_task(change())
        await wait_until(lambda: len(uploaded) > 20, "files come and go")
        backups = [await back_up(old, folder) for _ in range(5)]
        ended = True
        await changing
    redis = Redis.from_url(new.url, decode_responses=True)
    for number, (data, saved, _) in enumerate(backups):
        # What was deleted meanwhile is no fault of the folder.
        assert saved.contents.missing == 0
        there = tmp_path / f"new-files-{number}"
        restored = await restore(data, new, there, force=True)
        listed = {str(one) for one in await redis.hkeys(index_key(PREFIX))}
        found = {Path(name).name: content for name, content in kept_in(there).items()}
        assert found.items() <= (uploaded | stays).items()
        assert stays.items() <= found.items()
        # Only what was deleted while it was copied has no content, and the restore says so.
        assert listed - found.keys() <= deleted
        assert restored.missing == len(listed - found.keys())
    await redis.aclose()


async def test_contents_may_be_left_out_and_a_restore_says_so(
    machines: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    old, new = machines
    folder = tmp_path / "old-files"
    async with serving(old, folder) as files:
        lost = await files.upload(b"lost")
        kept = await files.upload(b"kept")
        without, saved, said = await back_up(old, folder, with_files=False)
        assert (said, "without the contents of 2 uploads" in saved_line(saved)) == ([], True)
        _, saved, _ = await back_up(old, "")
        assert "PENSTOCK_FILES_DIR is not set" in saved_line(saved)
        # A pipe in its place is no content, and nobody waits for it.
        (folder / "complete" / lost[-2:] / lost).unlink()
        os.mkfifo(folder / "complete" / lost[-2:] / lost)
        whole, saved, _ = await back_up(old, folder)
        assert "the contents of 1 upload are not in PENSTOCK_FILES_DIR" in saved_line(saved)

    restored = await restore(without, new, tmp_path / "new-files")
    assert "2 uploads without content get 404" in restored_line(restored)
    restored = await restore(whole, new, "", force=True)
    assert "the contents of 1 upload have no place here" in restored_line(restored)
    restored = await restore(whole, new, tmp_path / "new-files", force=True)
    assert "1 upload without content get 404" in restored_line(restored)
    async with serving(new, tmp_path / "new-files") as files:
        assert [await files.download(one) for one in (kept, lost)] == [b"kept", None]


@pytest.mark.parametrize(
    "names",
    [
        [f"contents/{FILE_ID}/000002"],
        [f"contents/{FILE_ID}/000001", f"contents/{FILE_ID}/000003"],
        [f"contents/{FILE_ID}/000001", f"contents/{FILE_ID}/000001"],
        [
            f"contents/{FILE_ID}/000001",
            f"contents/{FILE_ID[:-1]}b/000001",
            f"contents/{FILE_ID}/000002",
        ],
    ],
)
def test_parts_that_do_not_follow_each_other_are_refused_before_anything_is_changed(
    names: list[str],
) -> None:
    with pytest.raises(BadBackup, match="one after the other"):
        checked(io.BytesIO(archive(names)))


async def test_no_content_gets_out_of_the_folder(
    machines: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    folder, elsewhere = tmp_path / "files", tmp_path / "elsewhere"
    names = ["../../a", "/etc/a", FILE_ID.upper(), f"{FILE_ID}/..", f"{FILE_ID}x", "."]
    data = archive([f"contents/{name}/000001" for name in names])
    restored = await restore(data, machines[1], folder)
    assert (restored.contents, len(restored.left_out)) == (0, len(names))
    assert not folder.exists()

    elsewhere.mkdir()
    (folder / "complete").mkdir(parents=True)
    (folder / "complete" / FILE_ID[-2:]).symlink_to(elsewhere)
    with pytest.raises(BackupFailed, match="got a link"):
        await restore(archive([f"contents/{FILE_ID}/000001"]), machines[1], folder)
    assert not list(elsewhere.iterdir())


async def test_a_restore_that_fails_leaves_no_content(
    machines: tuple[RedisServer, RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"{FILE_ID[:-1]}b"
    names = [f"contents/{FILE_ID}/000001", f"contents/{other}/000001", "redis/000001.resp"]
    folder = tmp_path / "files"
    there = folder / "complete" / other[-2:] / other
    there.parent.mkdir(parents=True)
    there.write_bytes(b"data")
    monkeypatch.setenv("PENSTOCK_FILES_DIR", str(folder))
    # Not checked first, so it fails in the middle.
    unchecked = io.BytesIO(archive(names))
    with pytest.raises(BadBackup):
        await restore_external(unchecked, machines[1].url, force=False)
    assert kept_in(folder) == {f"complete/{other[-2:]}/{other}": b"data"}


def archive(names: list[str]) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, {"key_prefix": PREFIX})
    for name in names:
        writer.add(name, b"data")
    writer.end()
    return file.getvalue()
