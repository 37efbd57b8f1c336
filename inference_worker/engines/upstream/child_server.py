"""A server that the worker has started: its process, its output in the log, its end."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from client_sdk.wire.failures import FailureType
from inference_worker.engines.classify import type_of_exit
from inference_worker.engines.upstream.warden import BY_SIGNAL
from inference_worker.environment import inherited
from inference_worker.gpu.claim import held_fds
from inference_worker.oom_kills import oom_kills

#: How many of its last lines are kept to explain why it ended.
KEPT_LINES = 5

#: How long the end of a killed process may take, in seconds.
KILL_WAIT_S = 5.0

#: How long to wait for its last lines after it has ended, in seconds.
LAST_LINES_WAIT_S = 1.0

#: A line longer than this is logged in parts, in bytes.
LONGEST_LINE_BYTES = 8192

_WARDEN = Path(__file__).with_name("warden.py")

log = logging.getLogger(__name__)


class ChildServer:
    """A running server with all its child processes; created by `ChildServer.start`."""

    def __init__(
        self, process: asyncio.subprocess.Process, *, leash: socket.socket, lines: int
    ) -> None:
        self._process = process
        self._leash = leash
        self._lines = lines
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._gone = asyncio.Event()
        self._oom_kills = oom_kills()
        self._watching = asyncio.create_task(self._watch(), name="child server")

    @classmethod
    async def start(
        cls, command: str | Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> "ChildServer":
        """Start the command: a text with the shell, a list without it.

        env: added to the worker's environment, from which the worker's settings are removed.
        """
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        our_leash, leash = socket.socketpair()
        our_leash.setblocking(False)
        our_lines, lines = os.pipe()
        # The warden ends after all of the server, and so it holds the GPUs for the server.
        kept = (leash.fileno(), *held_fds())
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_WARDEN), ",".join(map(str, kept)), *argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=lines,
                stderr=lines,
                env={**inherited(), **(env or {})},
                pass_fds=kept,
                # Ctrl-C in the terminal must reach only the worker, which stops the server in
                # order.
                start_new_session=True,
            )
        except BaseException:
            our_leash.close()
            os.close(our_lines)
            raise
        finally:
            leash.close()
            os.close(lines)
        return cls(process, leash=our_leash, lines=our_lines)

    @property
    def warden_pid(self) -> int:
        """The id of the warden; the server and all its children are its descendants."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until it has ended."""
        return not self._gone.is_set()

    async def wait(self) -> str:
        """Wait for its end; return how it ended, with its last line."""
        how = await self.wait_silently()
        return f"{how}: {self._last_lines[-1]}" if self._last_lines else how

    async def wait_silently(self) -> str:
        """Wait for its end; return how it ended, in words that a client may see.

        Without the server's last line, which may be about another client's job.
        """
        await self._gone.wait()
        code = self._process.returncode or 0
        if code < 0:
            code = BY_SIGNAL - code
        if code > BY_SIGNAL:
            return f"was killed by signal {code - BY_SIGNAL}"
        return f"exited with {code}"

    def death_type(self) -> FailureType:
        """Return the failure type of its jobs, after it has ended."""
        code = self._process.returncode
        short = oom_kills() > self._oom_kills
        return type_of_exit(code, was_short_of_memory=short)

    async def stop(self, grace_s: float) -> None:
        """Ask it to end; after the grace period kill it with all its children."""
        if grace_s > 0 and self.running:
            # The warden may end at this moment.
            with contextlib.suppress(OSError):
                self._leash.send(b".")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._gone.wait()
        self._leash.close()
        # With a limit: a process inside a device driver may not end even after SIGKILL.
        await asyncio.wait({self._watching}, timeout=KILL_WAIT_S)
        if self.running:
            log.error("The server does not end after SIGKILL; continuing without it.")
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        reader = asyncio.StreamReader()
        pipe = os.fdopen(self._lines, "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        reading = asyncio.create_task(self._log_lines(reader))
        try:
            # Wait for the process, not for the end of its output: a child may keep the pipe open.
            if await self._process.wait() < 0:
                self._kill_group()
            await asyncio.wait({reading}, timeout=LAST_LINES_WAIT_S)
        finally:
            reading.cancel()
            transport.close()
            self._leash.close()
            self._gone.set()

    async def _log_lines(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await reader.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._log(line)
        self._log(rest)

    def _log(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self._last_lines.append(text)
            log.info("[server] %s", text)

    def _kill_group(self) -> None:
        """Kill the server's process group, because the warden was killed and cannot do it."""
        with contextlib.suppress(OSError, ValueError):
            os.killpg(int(self._leash.recv(32)), signal.SIGKILL)
