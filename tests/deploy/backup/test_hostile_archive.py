"""Archives that an attacker has made: what they may not do."""

import hashlib
import io
import tarfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.backup.archive import Writer, new_file
from deploy.backup.errors import BackupFailed, BadBackup
from deploy.backup.restore import Uploads, checked, restore
from deploy.backup.store import opened, settings_of
from deploy.local.redis_server import RedisServer

PREFIX = "ps"


def _with_member(member: tarfile.TarInfo, data: bytes, **headers: str) -> bytes:
    file = io.BytesIO()
    member.pax_headers = {"PENSTOCK.sha256": hashlib.sha256(data).hexdigest(), **headers}
    with tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, b"6", b"3"])
def test_links_folders_and_devices_are_no_members(kind: bytes) -> None:
    member = tarfile.TarInfo("files/data/token")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(BadBackup, match="plain members"):
        checked(io.BytesIO(_with_member(member, b"")))


def test_a_sparse_member_is_refused_before_it_is_read() -> None:
    # 1 GiB of zeros in a file of a few KiB.
    headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(2**30),
        "GNU.sparse.map": "0,1",
    }
    data = _with_member(tarfile.TarInfo("redis/000001.resp"), b"x", **headers)
    assert len(data) < 2**15
    with pytest.raises(BadBackup, match="plain members"):
        checked(io.BytesIO(data))


async def test_files_that_a_folder_does_not_know_are_left_out(
    machines: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    file = io.BytesIO()
    writer = Writer(file, {"key_prefix": PREFIX})
    names = ["data/token", "data/lock", "data/redis", "data/running.json", "services/demo.json"]
    names += ["services/run.sh", "elsewhere/a", "data/../../a", "data/.hidden", "/etc/a"]
    for name in names:
        writer.add(f"files/{name}", b"text")
    writer.end()
    there = tmp_path / "there"
    there.mkdir()
    places = {"data": there / "data", "services": there / "services"}
    async with opened(settings_of(machines[1].url)) as redis:
        restored = await restore(
            checked(io.BytesIO(file.getvalue())),
            redis,
            PREFIX,
            places=places,
            uploads=Uploads(),
            where="here",
            force=False,
        )
    found = {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()}
    assert found == {"data/token", "services/demo.json"}
    assert len(restored.left_out) == len(names) - 2


def test_a_token_that_is_no_text_is_refused_before_anything_is_changed() -> None:
    file = io.BytesIO()
    writer = Writer(file, {"key_prefix": PREFIX})
    writer.add("files/data/token", b"\xff\xfe")
    writer.end()
    with pytest.raises(BadBackup, match="text in 'files/data/token'"):
        checked(io.BytesIO(file.getvalue()))


def test_of_two_backups_into_one_file_the_later_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "penstock.backup"
    with ExitStack() as later:
        earlier = ExitStack()
        earlier.enter_context(new_file(path)).write(b"first")
        later.enter_context(new_file(path)).write(b"second")
        with pytest.raises(BackupFailed, match="another one writes it too"):
            earlier.close()
        assert not path.exists()
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]
