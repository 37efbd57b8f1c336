"""Local modes for tests, each of which is ended after its test, and how `penstock` is started."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import running
from tests.deploy.local_mode import StartUp, Up

#: The files whose subject is a start, an end or an output, or that start all as users do.
NEW_INTERPRETERS = {
    "test_demo.py",
    "test_failing_output.py",
    "test_folder_of_others.py",
    "test_interrupted.py",
    "test_start_up.py",
}


@pytest.fixture(autouse=True)
def fork_commands(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fork `penstock` for the tests of this folder, except those of NEW_INTERPRETERS."""
    if running.PRELOADED is None:
        yield
        return
    with running.PRELOADED.forking_commands(request.path.name not in NEW_INTERPRETERS):
        yield


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[StartUp]:
    """Start local modes, each on a free port, and end them after the test."""
    started: list[Up] = []

    def start(
        *options: str,
        data_dir: Path = tmp_path / "data",
        cwd: Path | None = None,
        **settings: str,
    ) -> Up:
        port = () if "--port" in options else ("--port", "0")
        log = tmp_path / f"up-{len(started)}.log"
        started.append(Up(data_dir, *port, *options, log=log, settings=settings, cwd=cwd))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.end()
