"""The directory of a local mode: one at a time, and its secrets are its owner's."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.data_dir import DataDir, Running
from deploy.errors import DataDirTaken, NotRunning

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
        "from deploy.data_dir import DataDir, Running\n"
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
