"""Starts the queue service and the worker in tests without importing them each time.

Importing takes most of the time that a process of a test needs to start.  A server imports both
once, and forks a child for each start: a process of its own, in its own session, with its own
environment and log, which then runs the module as `python -m` does.  tests/deploy starts them as
operators do, with a new interpreter.
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
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from client_sdk.leash import LEASH, tie

ROOT = Path(__file__).parents[1]

#: What the server imports, and can start.
MODULES = ("queue_service", "inference_worker")

#: Variables that Python or a library reads while it starts, which is over in the server.
_READ_AT_START = ("PYTHON", "PROMETHEUS_", "LD_", "MALLOC_", "OMP_")

#: More than a request with an environment takes, in bytes.
_REQUEST_BYTES = 1 << 20

_STATUS = struct.Struct("i")


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

    def start(self, argv: list[str], env: Mapping[str, str], log: IO[bytes]) -> PreloadedProcess:
        """Start a child that runs this module."""
        requests = self._socket or self._start_server()
        status_fd, theirs = os.pipe()
        request = json.dumps({"argv": argv[1:], "env": dict(env), "cwd": os.getcwd()})
        socket.send_fds(requests, [request.encode()], [log.fileno(), theirs])
        os.close(theirs)
        return PreloadedProcess(int(requests.recv(64)), status_fd)

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
                [*leash, sys.executable, "-m", "tests.preloaded", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env=self._env,
            )
        return self._socket


def _network() -> int:
    """Return the number of this thread's network namespace."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def _start_of(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


def _serve(requests: socket.socket) -> tuple[dict[str, Any], int] | None:
    """Fork for each request; return the request and its log in a child, None in the server."""
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
            request, fds, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 2)
            if not request:
                return None
            log_fd, status_fd = fds
            pid = os.fork()
            if not pid:
                os.close(status_fd)
                _close_others(requests, waiting)
                return json.loads(request), log_fd
            os.close(log_fd)
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


def _become(request: dict[str, Any], log_fd: int, *, server_pid: int) -> None:
    """Run the module in this child, as a new interpreter would."""
    os.setsid()
    if not tie(server_pid, signal.SIGKILL):
        sys.exit(1)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    module, *sys.argv[1:] = request["argv"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Serve requests; in a child, run what was asked for."""
    for module in MODULES:
        import_module(f"{module}.__main__")
        # It runs again in the child, with its imports done.
        del sys.modules[f"{module}.__main__"]
    server_pid = os.getpid()
    requests = socket.socket(fileno=int(sys.argv[1]))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if found := _serve(requests):
        _become(*found, server_pid=server_pid)


if __name__ == "__main__":
    main()
