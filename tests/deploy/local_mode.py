"""`penstock up` in a process of its own, for the tests of local mode."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from client_sdk import QueueClient
from deploy.admin import AdminApi
from deploy.cli import app
from deploy.errors import DeployError, NotRunning
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
        """Wait until this number of processes below it run this module; return their ids."""

        def found() -> list[int]:
            pids = [pid for pid in self.running(module) if pid != without]
            return pids if len(pids) == count else []

        # A look reads the state of every process of the machine.
        what = f"{count} of {module} run"
        return wait_until_blocking(found, what, START_S, interval_s=0.1)

    def running(self, module: str) -> list[int]:
        """Return the processes below it that run this module."""
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


def status(url: str, token: str, method: str = "GET", **headers: str) -> int:
    """Send a request; return the status of the response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = b"x" if method == "POST" else None
    request = urllib.request.Request(url, body, {"Authorization": token, **named}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


class Cli:
    """`penstock` against one local mode, with `--json`."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.running = up.ready()

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        # In this process: an interpreter for each of them would take most of the time.
        ended = CliRunner().invoke(app, [*arguments, "--json", "--data", str(self.up.data_dir)])
        found, said = ended.exit_code, ended.stderr
        if isinstance(ended.exception, DeployError):
            found, said = ended.exception.exit_code, str(ended.exception)
        assert found == code, (arguments, ended.output, ended.exception)
        return json.loads(ended.stdout) if ended.stdout.strip() else said

    def printed(self, *arguments: str, code: int = 0) -> str:
        """Return what a person sees of a command, on either output."""
        ended = CliRunner().invoke(app, [*arguments, "--data", str(self.up.data_dir)])
        assert ended.exit_code == code, ended.output
        return ended.output

    def client(self, service: str) -> QueueClient:
        token = DataDir(self.up.data_dir).token_of(service)
        return QueueClient(self.running.url, service, token=token)

    def pids(self, service: str) -> list[int]:
        """Return the workers of a service that are ready."""
        control = AdminApi(self.running.control_url, self.running.control_token)
        local = control.ask("GET", f"/services/{service}")
        return [one["pid"] for one in local["instances"] if one["state"] == "ready"]
