"""The directory of a local mode: one at a time, and its secrets are its owner's."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.errors import DataDirTaken, NotRunning, UntrustedPath
from deploy.local.data_dir import DataDir, Running

RUNNING = Running(url="http://127.0.0.1:1", service="demo", token="t", admin_token="a", pid=1)


def test_two_do_not_share_a_directory(tmp_path: Path) -> None:
    with DataDir(tmp_path).lock(), pytest.raises(DataDirTaken), DataDir(tmp_path).lock():
        pass
    with DataDir(tmp_path).lock():
        pass


def test_a_generated_token_stays_the_same_and_is_its_owners(tmp_path: Path) -> None:
    token = DataDir(tmp_path).token("token")
    assert len(token) >= 32
    assert DataDir(tmp_path).token("token") == token
    assert DataDir(tmp_path).token("admin-token") != token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_a_running_one_is_found_until_it_stops(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    with directory.lock():
        directory.announce(RUNNING)
        assert DataDir(tmp_path).running() == RUNNING
        assert (tmp_path / "running.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(NotRunning):
        directory.running()


def test_what_a_killed_one_left_behind_is_not_believed(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from deploy.local.data_dir import DataDir, Running\n"
        "directory = DataDir(pathlib.Path(sys.argv[1]))\n"
        "with directory.lock():\n"
        "    directory.announce(Running('http://127.0.0.1:1', 'demo', 't', 'a', os.getpid()))\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert (tmp_path / "running.json").exists()
    with pytest.raises(NotRunning):
        DataDir(tmp_path).running()
    # Nor is it once the next one has begun to start.
    with DataDir(tmp_path).lock(), pytest.raises(NotRunning):
        DataDir(tmp_path).running()


def _writable(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o022)


def _another_users(path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(path, 12345, 12345)


def _a_link_to_another_users(path: Path) -> None:
    theirs = path.parent / "theirs"
    path.rename(theirs)
    _another_users(theirs)
    path.symlink_to(theirs)


@pytest.mark.parametrize("spoil", [_writable, _another_users, _a_link_to_another_users])
@pytest.mark.parametrize(
    "part", [".", "..", "services", "services/mine.json", "redis/appendonlydir", "token"]
)
def test_a_directory_that_another_user_can_change_is_refused(
    tmp_path: Path, part: str, spoil: Callable[[Path], None]
) -> None:
    data = tmp_path / "above" / "data"
    (data / "services").mkdir(parents=True)
    (data / "redis" / "appendonlydir").mkdir(parents=True)
    (data / "services" / "mine.json").write_text("{}")
    DataDir(data).token("token")
    data.chmod(0o755)
    with DataDir(data).lock():
        pass
    spoiled = (data / part).resolve()
    spoil(spoiled)

    with pytest.raises(UntrustedPath) as refused, DataDir(data).lock():
        pass
    assert "that only you can change" in str(refused.value)
    assert ("chmod go-w" in str(refused.value)) == (spoil is _writable)
    (data / "running.json").write_text("{}")
    with pytest.raises(UntrustedPath):
        DataDir(data).running()


def test_a_sticky_directory_above_and_a_umask_are_no_reason_to_refuse(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o1777)
    with DataDir(above / "data").lock():
        (above / "data" / "old").write_text("x")
        (above / "data" / "old").chmod(0o666)
    assert (above / "data").stat().st_mode & 0o777 == 0o700
    with DataDir(above / "data").lock():
        pass


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    DataDir(tmp_path).token("token")
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(UntrustedPath, match="chmod go-rwx"):
        DataDir(tmp_path).token("token")
