"""One process of a run, that can be killed, frozen, told things and started again."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from client_sdk.leash import LEASH
from tests.waiting import wait_until

#: Seconds until a process that was started is ready, and until one that was asked to end has.
START_S = 60.0
STOP_S = 45.0

#: From an incarnation's name and its journal to the arguments behind the interpreter.
Argv = Callable[[str, Path], list[str]]


class Part:
    """A process with a name, and a new name each time it is started again.

    argv: what follows the Python interpreter.  is_ready: says whether the process serves.
    root: the tree whose packages it runs, when that is not this one.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        argv: Argv,
        env: Mapping[str, str] | None = None,
        is_ready: Callable[["Part"], bool] | None = None,
        words: tuple[str, ...] = (),
        root: Path | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        #: What it gets as soon as it runs, after a restart as well.
        self.words = words
        self._argv = argv
        self._root = root
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        self._env |= env or {}
        if root is not None:
            self._env["PYTHONPATH"] = str(root)
        self._is_ready = is_ready or Part.has_noted
        self._lives = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def who(self) -> str:
        """The name of this incarnation."""
        return f"{self.name}.{self._lives}"

    @property
    def env(self) -> Mapping[str, str]:
        """The environment that it runs in."""
        return self._env

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.who}.jsonl"

    @property
    def log_path(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def was_started(self) -> bool:
        return self._process is not None

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def end(self) -> str:
        """How it ended, with the last line of its log."""
        lines = self.log_path.read_text(errors="replace").splitlines() or [""]
        return f"{self.who} ended with {self.exit_code}: {lines[-1]}"

    def has_noted(self) -> bool:
        """Say whether there is anything in its journal."""
        return self.journal.exists() and self.journal.stat().st_size > 0

    def ready(self) -> bool:
        """Say whether it serves; fail when it has ended instead."""
        if not self.running:
            tail = self.log_path.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} ended with {self.exit_code} while awaited:\n{tail}")
        return self._is_ready(self)

    def spawn(self) -> None:
        """Start it, or start it again, and do not wait."""
        self._close_stdin()
        self._lives += 1
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(signal.SIGKILL))]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*leash, sys.executable, *self._argv(self.who, self.journal)],
                env=self._env,
                cwd=self._root,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        for line in self.words:
            self.tell(line)

    async def start(self) -> None:
        """Start it and return once it serves."""
        self.spawn()
        await wait_until(self.ready, f"{self.name} is ready", START_S)

    def tell(self, line: str) -> None:
        """Write a line to its stdin; one that has ended does not hear it."""
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once and let its children find out for themselves."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    async def stop(self) -> int:
        """Ask it to end and return its exit status."""
        self.send(signal.SIGTERM)
        await wait_until(lambda: not self.running, f"{self.name} has ended", STOP_S)
        assert self._process is not None
        return self._process.returncode

    def kill_all(self) -> None:
        """End it and all it has started; harmless when it has ended."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close_stdin()

    def _close_stdin(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def children(self) -> list[int]:
        """Return the processes that it has started and that run, the oldest first."""
        found: set[int] = set()
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in task.read_text().split())
        return sorted(found)


def resident_kb(pid: int) -> int:
    """Return the memory that a process has in RAM, in KiB; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
