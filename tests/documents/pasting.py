"""A folder in which a reader pastes the commands of the documents, and what replaces the rest.

Only addresses, ports and paths are replaced.  `make up ARGS=...` becomes the `penstock up ...` that
the Makefile runs (a test compares them), and `make venv` does nothing.
"""

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.errors import NotRunning
from deploy.local.data_dir import DataDir, Running
from tests.documents.blocks import ROOT
from tests.documents.command_server import SHIM
from tests.waiting import wait_until_blocking

#: Seconds until a local mode takes jobs, and until a program of the documents ends.
LONGEST_S = 120.0

#: The address of the local mode in the documents.
LOCAL_URL = "http://127.0.0.1:8080"

_PROGRAMS = {
    "penstock": f'exec "{sys.executable}" -P -m deploy.entry "$@"',
    "python": f'exec "{sys.executable}" "$@"',
    "python3": f'exec "{sys.executable}" "$@"',
    "make": """
        [ "$1" = venv ] && exit 0
        [ "$1" = up ] || { echo "no stand-in for make $1" >&2; exit 2; }
        case "${2-}" in ARGS=*) ARGS=${2#ARGS=};; *) ARGS=;; esac
        eval "exec penstock up $ARGS --port 0" """,
}

HANDLER = "class Sentiment:\n    def predict(self, text: str):\n        return {'label': text}\n"
SERVICE_JSON = '{"processor": "echo", "metadata": {"name": "sentiment", "instance": 1}}'


class Ended(Exception):
    """Commands that should go on have ended; it has what they printed."""


class Shell:
    """A shell in which commands are pasted.  path: a folder, which has their log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = dict(os.environ)

    @property
    def log(self) -> str:
        """What the commands have printed that go on."""
        return (self.path / "started.log").read_text()

    def paste(self, commands: str) -> str:
        """Run the commands, each of which has to succeed, and return what they print."""
        done = subprocess.run(
            self._shell(commands),
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def started(self, commands: str, *, until: str = "") -> Iterator[Path]:
        """Run commands that go on until Ctrl-C; yield their log once it contains `until`."""
        log = self.path / "started.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self._shell(commands),
                cwd=self.path,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def there() -> bool:
            if process.poll() is not None:
                raise Ended(log.read_text())
            return until in log.read_text() if until else self._has_started()

        try:
            wait_until_blocking(there, f"the commands run: {commands}", LONGEST_S)
            yield log
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            process.wait(LONGEST_S)

    def _shell(self, commands: str) -> list[str]:
        return ["bash", "-euo", "pipefail", "-c", commands]

    def _has_started(self) -> bool:
        return True


def environment() -> dict[str, str]:
    """Return the environment of pasted commands, less what is of their folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


class Folder(Shell):
    """Where the commands are pasted: programs, a handler, a service.json and the examples.

    server: the socket of a command_server.py that forks `penstock`; without one, each is a new
    interpreter.
    """

    def __init__(self, path: Path, server: Path | None = None) -> None:
        super().__init__(path)
        (path / "my_model.py").write_text(HANDLER)
        (path / "service.json").write_text(SERVICE_JSON)
        (path / "question.txt").write_text("What is a sink?")
        (path / "examples").symlink_to(ROOT / "examples")
        programs = path / "programs"
        programs.mkdir()
        for name, command in _PROGRAMS.items():
            _program(programs / name, command)
        if server:
            shim = f'exec "{sys.executable}" -I -S "{SHIM}" "{server}" "$@"'
            _program(programs / "penstock", shim)
        env = environment()
        self.env = {**env, "PATH": f"{programs}{os.pathsep}{env['PATH']}", "HOME": str(path)}

    def running(self) -> Running | None:
        """Return the local mode that runs here, once it takes jobs."""
        try:
            return DataDir(self.path / ".penstock").running()
        except NotRunning:
            return None

    def url(self) -> str:
        """Return the address of the local mode."""
        running = self.running()
        assert running is not None
        return running.url

    def paste(self, commands: str) -> str:
        """Run the commands, each of which has to succeed, and return what they print."""
        if LOCAL_URL in commands:
            commands = commands.replace(LOCAL_URL, self.url())
        return super().paste(commands)

    def _has_started(self) -> bool:
        return self.running() is not None


def _program(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/bash\n{command}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
