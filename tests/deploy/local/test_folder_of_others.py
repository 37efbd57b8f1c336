"""Programs start in folders of users: no file there replaces a module of Python or a library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.local_mode import START_S, StartUp
from tests.waiting import wait_until_blocking

#: Modules that our programs import, by names that users give to theirs.
NAMES = ("queue", "token", "redis", "email", "uvloop", "typer", "asyncio", "logging", "random")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with such modules, a handler, and its neighbour."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(
            "raise SystemExit('a file of the folder was imported')\n"
        )
    (folder / "my_model.py").write_text(
        "import random, queue\nfrom neighbour import shout\n"
        "class Model:\n    def predict(self, text: str) -> str:\n        return shout(text)\n"
    )
    (folder / "neighbour.py").write_text("def shout(text):\n    return text.upper()\n")
    return folder


@pytest.mark.parametrize(
    ("module", "words", "code", "said"),
    [
        ("queue_service", ("--help",), 0, "Penstock's queue service"),
        ("inference_worker", (), 1, "PENSTOCK_WORKER_"),
        ("deploy.entry", ("version",), 0, "."),
        ("deploy.cli", ("version",), 0, "."),
        ("penstock", ("version",), 0, "."),
    ],
)
def test_a_program_started_in_a_folder_imports_nothing_from_it(
    folder: Path, module: str, words: tuple[str, ...], code: int, said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        # Which lets the worker end as soon as it has imported everything.
        env={**os.environ, "PENSTOCK_WORKER_WORKER_THREADS": "none"},
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S,
    )
    assert "a file of the folder was imported" not in ended.stderr
    assert (ended.returncode, said in ended.stdout + ended.stderr) == (code, True), ended


@pytest.mark.timeout(240)
def test_local_mode_in_such_a_folder_runs_its_handler_with_its_neighbour(
    start_up: StartUp, folder: Path, tmp_path: Path
) -> None:
    up = start_up("--engine", "handler:my_model:Model", "--processes", "2", cwd=folder)
    running = up.ready()
    put = subprocess.run(
        [
            *(sys.executable, "-m", "deploy.entry", "put", "demo", "hello", "--wait"),
            *("--data", str(tmp_path / "data")),
        ],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=START_S,
    )
    assert put.stdout == b"HELLO", (put, up.log)
    assert running.service == "demo"

    # A service of `penstock create` runs in the folder of its file.
    file = folder / "service.json"
    document = {"metadata": {"name": "mine", "instance": 1}, "processor_entry": "my_model.py:Model"}
    file.write_text(json.dumps(document))
    made = subprocess.run(
        [sys.executable, "-m", "deploy.entry", "create", str(file), "--data", str(up.data_dir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S,
    )
    assert "1 of 1 instances ready" in made.stdout, (made, up.log)
    wait_until_blocking(lambda: "mine-1" in up.log, "it runs", START_S)
