"""Starts the queue service, the worker and `penstock` in tests without importing them each time.

Importing takes most of the time that a process of a test needs to start.  A server imports them
once, and forks a child for each start: a process of its own, in its own session, with its own
environment and log, which then runs the module as `python -m` does.  `penstock up` forks its queue
service and workers in the same way (forking.py).

Tests of how a program starts, or of how its output and its interruption end, start it with a new
interpreter, as users do.
"""

import contextlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from client_sdk.leash import LEASH, tie
from tests.forking import REQUEST_BYTES, UNBUFFERED, adopt, fork_helper, settle, show_as

ROOT = Path(__file__).parents[1]

#: What the server can start; the first two it imports at once.
MODULES = ("queue_service", "inference_worker", "deploy.cli", "deploy.entry")

#: The commands that start queue services and workers.
_PARENTS = {"up", "worker", "demo"}

#: Variables that Python or a library reads while it starts, which is over in the server.
_READ_AT_START = ("PYTHON", "PROMETHEUS_", "LD_", "MALLOC_", "OMP_")

#: Room for the arguments of what a child becomes.
_ROOM = "-" * 250

_STATUS = struct.Struct("i")

#: A program that has ended.
Run = subprocess.CompletedProcess[bytes]


class PreloadedProcess:
    """A child of the server, with that part of subprocess.Popen's interface which tests use."""

    def __init__(self, pid: int, status_fd: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status_fd = status_fd

    def poll(self) -> int | None:
        """Return the exit status if the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            ready = select.poll()
            ready.register(self._status_fd, select.POLLIN)
            if not ready.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            status = os.read(self._status_fd, _STATUS.size)
            os.close(self._status_fd)
            # Without a status the server was killed, and its children with it.
            self.returncode = _STATUS.unpack(status)[0] if status else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def is_available() -> bool:
    """Say whether this system tells the server of the end of a child."""
    return hasattr(os, "pidfd_open")


class Preloaded:
    """The server, which starts with the first process that it is asked for."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        # A test may change its own environment before the first start.
        self._env = dict(os.environ)
        self._network = _network()

    def can_start(self, argv: list[str], env: Mapping[str, str]) -> bool:
        """Say whether a child would be the same as a new interpreter with these arguments."""
        if argv[0] != "-m" or argv[1] not in MODULES or _start_of(env) != _start_of(self._env):
            return False
        # A test may have put this thread into another network namespace (tests/machines).
        return _network() == self._network

    def start(
        self,
        argv: list[str],
        env: Mapping[str, str],
        log: IO[bytes],
        *,
        errors: IO[bytes] | None = None,
        stdin: IO[bytes] | None = None,
    ) -> PreloadedProcess:
        """Start a child that runs this module; `errors` is for its messages, `log` by default."""
        requests = self._socket or self._start_server()
        status_fd, theirs = os.pipe()
        request = json.dumps({"argv": argv[1:], "env": dict(env), "cwd": os.getcwd()})
        with open(os.devnull, "rb") as nothing:
            streams = [(stdin or nothing).fileno(), log.fileno(), (errors or log).fileno()]
            socket.send_fds(requests, [request.encode()], [*streams, theirs])
        os.close(theirs)
        return PreloadedProcess(int(requests.recv(64)), status_fd)

    def run(self, argv: list[str], env: Mapping[str, str], *, data: bytes, timeout_s: float) -> Run:
        """Run a child to its end, as subprocess.run does."""
        with TemporaryFile() as stdin, TemporaryFile() as out, TemporaryFile() as errors:
            stdin.write(data)
            stdin.seek(0)
            process = self.start(argv, env, out, errors=errors, stdin=stdin)
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            # The child has moved the offset that it shares with this process.
            out.seek(0)
            errors.seek(0)
            return Run(argv, code, out.read(), errors.read())

    def close(self) -> None:
        """End the server, and with it every child that still runs."""
        if self._socket and self._server:
            self._socket.close()
            self._server.wait()

    def _start_server(self) -> socket.socket:
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(signal.SIGKILL))]
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [*leash, sys.executable, "-m", "tests.preloaded", str(theirs.fileno()), _ROOM],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env=self._env,
            )
        return self._socket


def _network() -> int:
    """Return the number of this thread's network namespace."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def _start_of(env: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if name.startswith(_READ_AT_START) and name != UNBUFFERED
    }


def _serve(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each request; return the request and its files in a child, None in the server."""
    waiting = selectors.DefaultSelector()
    waiting.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.data is not None:
                pid, status_fd = key.data
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                # Nobody reads it if the test has ended.
                with contextlib.suppress(BrokenPipeError):
                    os.write(status_fd, _STATUS.pack(status))
                waiting.unregister(key.fd)
                os.close(key.fd)
                os.close(status_fd)
                continue
            message, fds, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 4)
            if not message:
                return None
            *streams, status_fd = fds
            request = json.loads(message)
            _import(request["argv"][0])
            pid = os.fork()
            if not pid:
                os.close(status_fd)
                _close_others(requests, waiting)
                return request, streams
            for stream in streams:
                os.close(stream)
            waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status_fd))
            requests.send(str(pid).encode())


def _close_others(requests: socket.socket, waiting: selectors.BaseSelector) -> None:
    """Close the pipes of a child's siblings, which would otherwise not end with them.

    Through the objects that own them.  If the numbers alone were closed, the selector, which is
    part of a cycle, would close its number once more when it is collected.  By then the number may
    be a file of the module: libuv aborted when its ring was gone.
    """
    for key in list(waiting.get_map().values()):
        if key.data is not None:
            os.close(key.fd)
            os.close(key.data[1])
    waiting.close()
    requests.close()


@cache
def _import(module: str) -> None:
    """Import what this module needs, once."""
    import_module(_program_of(module))
    if module.startswith("deploy."):
        for place in import_module("deploy.cli").COMMANDS.values():
            import_module(f"deploy.{place.partition(':')[0]}")


def _program_of(module: str) -> str:
    return module if module.startswith("deploy.") else f"{module}.__main__"


def _become(request: dict[str, Any], streams: list[int], *, server_pid: int) -> None:
    """Run the module in this child, as a new interpreter would."""
    os.setsid()
    if not tie(server_pid, signal.SIGKILL):
        sys.exit(1)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    adopt(request["env"], request["cwd"])
    module, *arguments = request["argv"]
    started_as = _start_of(os.environ)
    if module.startswith("deploy.") and not _PARENTS.isdisjoint(arguments[:1]):
        if asked := fork_helper(lambda env: _start_of(env) == started_as):
            settle(*asked)
            module, arguments = asked[0].module, []
    else:
        show_as([sys.executable, "-m", module, *arguments])
    sys.argv[1:] = arguments
    # It runs again, with its imports done.
    sys.modules.pop(_program_of(module), None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Serve requests; in a child, run what was asked for."""
    # The commands only when one is asked for: few files of tests start any.
    for module in MODULES[:2]:
        _import(module)
    server_pid = os.getpid()
    requests = socket.socket(fileno=int(sys.argv[1]))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if found := _serve(requests):
        _become(*found, server_pid=server_pid)


if __name__ == "__main__":
    main()
