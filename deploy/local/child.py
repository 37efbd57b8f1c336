"""One child process, in its own session; it dies when this process dies.

A Ctrl-C in the terminal goes to the whole foreground process group.  A child in its own session
does not get it, so that we choose the order of stopping: workers, queue service, Redis.

Two threads read its output and wait for its end.  They use no event loop, so you may start a child
in one loop and stop it in another.  Start it in a thread that lives as long as the child: when that
thread ends, Linux sends the child its parent-death signal.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

from client_sdk.leash import LEASH

#: How many of a child's last lines are kept for an error message.
KEPT_LINES = 20


class Child:
    """A running process; construct it with `Child.start`."""

    def __init__(
        self, name: str, process: subprocess.Popen[str], *, on_line: Callable[[str], None]
    ) -> None:
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._process = process
        self._on_line = on_line
        self._exited: Future[int] = Future()
        # A running future cannot be cancelled, so a cancelled waiter does not affect the others.
        self._exited.set_running_or_notify_cancel()
        self._reader = Thread(target=self._read, name=f"{name}-log", daemon=True)
        self._reader.start()
        Thread(target=self._reap, name=f"{name}-exit", daemon=True).start()

    @classmethod
    def start(
        cls,
        name: str,
        argv: Sequence[str],
        *,
        on_line: Callable[[str], None] = lambda line: None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        dies_by: signal.Signals = signal.SIGKILL,
    ) -> "Child":
        """Start `argv`; `on_line` receives each line of its output, in a separate thread.

        `stdin` is written to the child first, and then closed.  `dies_by` is the signal that the
        child gets when this process dies without stopping it.
        """
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(dies_by))]
        process = subprocess.Popen(
            [*leash, *argv],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        if stdin is not None and process.stdin is not None:
            # A child that died at once has closed its end; its exit code says why.
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(stdin)
        return cls(name, process, on_line=on_line)

    @property
    def pid(self) -> int:
        """The process id, which is the id of its process group too."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._exited.result() if self._exited.done() else None

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal to the process, if it is still there."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        return await asyncio.shield(asyncio.wrap_future(self._exited))

    async def stop(self, *, grace_s: float) -> int:
        """Send SIGTERM, kill after `grace_s` seconds, and return the exit code."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """Kill the process, and return its exit code."""
        self.send_kill()
        return await self.wait()

    def send_kill(self) -> None:
        """Send SIGKILL and do not wait; the rest of its group dies with it."""
        self.send(signal.SIGKILL)

    def _read(self) -> None:
        stream: IO[str] | None = self._process.stdout
        assert stream is not None, "the child is always started with a pipe"
        with stream:
            for line in stream:
                text = line.rstrip("\n")
                self.last_lines.append(text)
                # Keep reading after an error in `on_line`: a child blocks when its pipe is full.
                with suppress(Exception):
                    self._on_line(text)

    def _reap(self) -> None:
        # Kill the group before the leader is reaped: until then the kernel cannot give its number
        # to another group.  This also ends the processes that the child started.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        # Deliver the last lines before the exit code.
        self._reader.join(timeout=1.0)
        self._exited.set_result(code)
