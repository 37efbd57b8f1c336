"""`penstock demo` keeps its promise, which is the last line it prints."""

import importlib.util
import subprocess
import sys

import pytest

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
