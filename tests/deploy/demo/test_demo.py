"""`penstock demo` keeps its promise, which is the last line it prints."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.processes import alive, descendants
from tests.waiting import wait_until_blocking

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
        reason="torch and transformers are not installed (pip install 'penstock[transformers]')",
    ),
]


def test_the_demo_loses_nothing_and_doubles_nothing() -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "demo"], capture_output=True, text=True, check=False
    )
    last_line = demo.stdout.splitlines()[-1]
    assert last_line == "20 of 20 answered, 0 lost, 0 duplicated", demo.stdout + demo.stderr
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "Worker 1 was killed while it held" in demo.stdout


def test_a_demo_that_is_interrupted_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "demo"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )

    def loading() -> set[int]:
        assert demo.poll() is None
        running = descendants(demo.pid)
        return running if list(tmp_path.glob("*/running.json")) else set()

    below = wait_until_blocking(loading, "the workers load", 60)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 130
    assert not any(map(alive, below))
    assert not list(tmp_path.iterdir())
