"""`penstock up` in a process of its own, for the tests of local mode."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.errors import NotRunning
from deploy.local.data_dir import DataDir, Running
from tests.deploy.processes import descendants
from tests.waiting import wait_until_blocking

#: Seconds from the command until everything runs, on a busy machine.
START_S = 60.0

#: Seconds from a signal until nothing is left.
STOP_S = 30.0


class Up:
    """One `penstock up` in a session of its own."""

    def __init__(
        self,
        data_dir: Path,
        *options: str,
        log: Path,
        settings: Mapping[str, str],
        cwd: Path | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._log = log
        env = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", "up", "--data", str(data_dir), *options],
                env={**env, "COLUMNS": "200", **settings},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ready(self) -> Running:
        """Wait until it takes jobs."""

        def running() -> Running | None:
            assert self.process.poll() is None, self.log
            try:
                return DataDir(self.data_dir).running()
            except NotRunning:
                return None

        found = wait_until_blocking(running, "`penstock up` is ready", START_S)
        assert found is not None
        return found

    def wait_for(self, module: str, *, count: int = 1, without: int = 0) -> list[int]:
        """Wait until so many processes below it run this module; return their ids."""

        def found() -> list[int]:
            pids = [pid for pid in self._running(module) if pid != without]
            return pids if len(pids) == count else []

        return wait_until_blocking(found, f"{count} of {module} run", START_S)

    def _running(self, module: str) -> list[int]:
        found = []
        for pid in descendants(self.process.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_text()
            except FileNotFoundError:
                continue
            if module in command and "leash.py" not in command:
                found.append(pid)
        return found

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send it a signal and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_S)


StartUp = Callable[..., Up]


def penstock(up: Up, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command against this local mode."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments, "--data", str(up.data_dir)],
        input=data,
        capture_output=True,
        check=False,
        timeout=START_S,
    )
