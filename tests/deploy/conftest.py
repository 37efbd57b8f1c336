"""Local modes for tests, each of which is ended after its test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.local_mode import StartUp, Up


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
