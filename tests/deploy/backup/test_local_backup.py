"""Backups of a local mode: made while it runs, restored in another directory."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from client_sdk import QueueClient
from client_sdk.wire.names import REQUEST_ID_TAG
from deploy.backup.errors import BadBackup, StoreNotEmpty
from deploy.cli import app
from deploy.errors import DataDirTaken, NotRunning, RestoreUnfinished
from deploy.local.data_dir import DataDir
from tests.deploy.local_mode import StartUp

pytestmark = pytest.mark.timeout(240)


def _penstock(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_local_mode_goes_on_in_another_directory(start_up: StartUp, tmp_path: Path) -> None:
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "penstock.backup"
    up = start_up("--workers", "0", data_dir=here)
    running = up.ready()
    with QueueClient(running.url, running.service, token=running.token) as client:
        request_id = client.put("kept").request_id
    first = _penstock("backup", file, "--data", here)
    assert first.exit_code == 0, first.exception
    taken = _penstock("restore", file, "--data", here, "--force")
    assert isinstance(taken.exception, DataDirTaken)
    up.end()

    full = _penstock("restore", file, "--data", here)
    assert isinstance(full.exception, StoreNotEmpty)
    # The file of a local mode that does not run has the same.
    made = _penstock("backup", tmp_path / "second.backup", "--data", here)
    assert made.exit_code == 0, made.exception
    backups = ((there, file, first), (here, tmp_path / "second.backup", made))
    for data_dir, backup, line in backups:
        force = ["--force"] if data_dir == here else []
        done = _penstock("restore", backup, "--data", data_dir, *force)
        assert done.exit_code == 0, done.exception
        # You can compare both lines: no key is missing.
        saved, restored = (re.findall(r"\d+ keys", one.stdout) for one in (line, done))
        assert saved == restored
        paths = (*data_dir.iterdir(), *(data_dir / "services").glob("*"))
        assert {path.stat().st_mode & 0o77 for path in paths if path.name != "lock"} == {0}
    aside = list(here.glob("before-restore-*"))
    assert [path.name for path in aside[0].iterdir()]

    for data_dir in (there, here):
        again = start_up("--workers", "0", data_dir=data_dir)
        found = again.ready()
        assert (found.token, found.admin_token) == (running.token, running.admin_token)
        with QueueClient(found.url, found.service, token=found.token) as client:
            (frame,) = client.get(auto_delete=False)
        assert (frame.data, frame.tags[REQUEST_ID_TAG]) == (b"kept", request_id)
        again.end()


def test_contents_that_a_backup_lacks_are_those_of_before(
    start_up: StartUp, tmp_path: Path
) -> None:
    data_dir, file = tmp_path / "here", tmp_path / "penstock.backup"
    up = start_up("--workers", "0", data_dir=data_dir)
    running = up.ready()
    request = urllib.request.Request(
        f"{running.url}/v1/files?filename=f",
        data=b"a content",
        headers={"Authorization": f"Bearer {running.token}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        file_id = json.load(answer)["id"]
    whole = _penstock("backup", tmp_path / "whole.backup", "--data", data_dir)
    assert "the contents of 1 upload" in whole.output, whole.exception
    without = _penstock("backup", file, "--data", data_dir, "--no-files")
    assert "without the contents of 1 upload" in without.output
    up.end()

    done = _penstock("restore", file, "--data", data_dir, "--force")
    assert (done.exit_code, "without content" in done.output) == (0, False), done.output
    content = DataDir(data_dir).files / "complete" / file_id[-2:] / file_id
    assert content.read_bytes() == b"a content"
    done = _penstock("restore", file, "--data", tmp_path / "there")
    assert "1 upload without content" in done.output
    done = _penstock("restore", tmp_path / "whole.backup", "--data", tmp_path / "there", "--force")
    there = DataDir(tmp_path / "there").files / "complete" / file_id[-2:] / file_id
    assert there.read_bytes() == b"a content"
    assert done.exit_code == 0, done.exception


def test_a_restore_that_fails_leaves_the_directory_as_it_was(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    with data_dir.lock():
        token = data_dir.token("token")
    file = tmp_path / "penstock.backup"
    file.write_bytes(b"no backup")
    failed = _penstock("restore", file, "--data", data_dir.path, "--force")
    assert isinstance(failed.exception, BadBackup)
    assert data_dir.token("token") == token
    nothing = _penstock("backup", tmp_path / "of-nothing", "--data", tmp_path / "nowhere")
    assert isinstance(nothing.exception, NotRunning)
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "of-nothing").exists()


def test_a_part_that_a_killed_restore_has_left_is_not_served(tmp_path: Path) -> None:
    data_dir, file = DataDir(tmp_path / "data"), tmp_path / "penstock.backup"
    with data_dir.lock():
        token = data_dir.token("token")
    assert _penstock("backup", file, "--data", data_dir.path).exit_code == 0
    killed = (
        "import os, sys; from deploy.backup import local; from deploy.cli import main; "
        "local.restore = lambda *words, **more: os.kill(os.getpid(), 9); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", killed, "restore", file, "--data", data_dir.path, "--force"],
        check=False,
        timeout=120,
    )
    assert done.returncode == -9
    refused = _penstock("backup", tmp_path / "of-a-part", "--data", data_dir.path)
    assert isinstance(refused.exception, RestoreUnfinished)
    up = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "up", "--workers", "0", "--data", data_dir.path],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "holds a part of a backup" in up.stderr
    assert up.returncode != 0
    again = _penstock("restore", file, "--data", data_dir.path, "--force")
    assert again.exit_code == 0, again.exception
    assert data_dir.token("token") == token
    assert _penstock("backup", tmp_path / "whole", "--data", data_dir.path).exit_code == 0
