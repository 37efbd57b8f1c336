"""Starts the queue service, the worker and `penstock` in tests without importing them each time.

Importing takes most of the time that a process of a test needs to start.  A server imports them
once, and forks a child for each start: a process of its own, with its own environment and files,
which then runs the module as `python -m` does.  It is a child of the test run (forking.py), so
tests start it with `subprocess` as ever.  `penstock up` forks its queue service and workers in the
same way, and a worker its engine's process.

`penstock` is forked only where tests ask for it (tests/deploy/conftest.py).  Tests of how a program
starts, or of how its output and its interruption end, start it with a new interpreter, as users do.
So do those with the mark `new_interpreters`.
"""

import atexit
import gc
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from client_sdk.leash import LEASH
from tests.forking import SPAWNED, Start, ask_instead_of_exec, fork_helper, serve, settle

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]

#: What the server can start: it imports the first at once, and the others when one is asked for.
PROGRAMS = ("queue_service", "inference_worker")
COMMANDS = ("deploy.cli", "deploy.entry")

#: Imported only by a worker's engine, when it starts.
_ENGINES = ("inference_worker.engine_main", "inference_worker.engines.handler")

#: The commands that start queue services and workers.
_PARENTS = ("up", "worker", "demo")

#: The mark of a test that depends on how processes start; its argument says why.
NEW_INTERPRETERS = "new_interpreters"

#: Variables that Python or a library reads while it starts, which is over in the server.
_READ_AT_START = ("PYTHON", "PROMETHEUS_", "LD_", "LC_", "LANG", "MALLOC_", "OMP_")
#: The one of them that the child heeds.
_HEEDED = "PYTHONUNBUFFERED"

#: Room for the arguments with which a child is listed in /proc.
ROOM = "-" * 250


class Preloaded:
    """The server, which starts with the first process that it is asked for; a plugin of pytest."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._forks = True
        self._forks_commands = False
        # A test may change its own environment before the first start.
        self._start = read_at_start(os.environ)
        self._env = dict(os.environ)
        self._network = _network()
        ask_instead_of_exec(self._requests, self._can_fork)

    @contextmanager
    def forking_commands(self, wanted: bool) -> Iterator[None]:
        """Fork `penstock` too, in this block."""
        self._forks_commands = wanted
        yield
        self._forks_commands = False

    def pytest_runtest_setup(self, item: "pytest.Item") -> None:
        """Do as the test asks, before its fixtures start something."""
        self._forks = item.get_closest_marker(NEW_INTERPRETERS) is None

    def pytest_unconfigure(self) -> None:
        """End the server."""
        if self._socket and self._server:
            self._socket.close()
            self._server.wait()

    def _can_fork(self, start: Start) -> bool:
        """Say whether a child would be the same as a new interpreter."""
        commands = COMMANDS if self._forks_commands else ()
        if not self._forks or start.module not in (*PROGRAMS, *commands, SPAWNED):
            return False
        # The kernel ties the server, and what it forks, to the thread that has started it.
        if not self._socket and threading.current_thread() is not threading.main_thread():
            return False
        # A test may have put this thread into another network namespace (tests/machines).
        return read_at_start(start.env) == self._start and _network() == self._network

    def _requests(self) -> socket.socket:
        if self._socket is None:
            leash = [str(LEASH), str(os.getpid()), str(int(signal.SIGKILL))]
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            python = [sys.executable, "-m", "tests.preloaded", str(theirs.fileno()), ROOM]
            with theirs:
                self._server = subprocess.Popen(
                    [sys.executable, "-I", "-S", *leash, *python],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    cwd=ROOT,
                    env=self._env,
                )
        return self._socket


def _network() -> int:
    """Return the number of this thread's network namespace."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if name.startswith(_READ_AT_START) and name != _HEEDED
    }


@cache
def import_program(module: str) -> None:
    """Import what this module needs, once."""
    if module == SPAWNED:
        return
    import_module(_file_of(module))
    if module == "inference_worker":
        for name in _ENGINES:
            import_module(name)
    if module in COMMANDS:
        for place in import_module("deploy.cli").COMMANDS.values():
            import_module(f"deploy.{place.partition(':')[0]}")
    # A child would go through all of it when it collects garbage, which takes half a second of the
    # processor at its end, and a copy of the memory.
    gc.freeze()


def _file_of(module: str) -> str:
    """Return what `python -m` runs."""
    return module if module in COMMANDS else f"{module}.__main__"


def become(start: Start, files: list[int]) -> None:
    """Run the program in this child, as a new interpreter would."""
    settle(start, files)
    while children := _children_of(start):
        asked = fork_helper(partial(_can_fork_below, children, read_at_start(start.env)))
        if not asked:
            break
        start, files = asked
        settle(start, files)
    try:
        _run(start)
    except SystemExit as end:
        # Anything else is a text, which Python prints.
        if isinstance(end.code, int | None):
            _end(end.code or 0)
        raise
    _end(0)


def _run(start: Start) -> None:
    if start.module == SPAWNED:
        code, *sys.argv[1:] = start.arguments
        sys.argv[0] = "-c"
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(code, vars(main))
    else:
        sys.argv[1:] = start.arguments
        # It runs again, with its imports done.
        sys.modules.pop(_file_of(start.module), None)
        runpy.run_module(start.module, run_name="__main__", alter_sys=True)


def _end(status: int) -> None:
    """End this process as Python does, but do not free its memory, which takes a tenth of a second.

    Return if the output cannot be written: then Python has to say so.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _can_fork_below(modules: tuple[str, ...], env: dict[str, str], child: Start) -> bool:
    # A Python that is started with this environment would be as the parent is.
    return child.module in modules and read_at_start(child.env) == env


def _children_of(start: Start) -> tuple[str, ...]:
    """Return which of the programs that can be forked this one starts."""
    if start.module in COMMANDS and start.arguments[:1] and start.arguments[0] in _PARENTS:
        return PROGRAMS
    return (SPAWNED,) if start.module == "inference_worker" else ()


def main() -> None:
    """Serve requests; in a child, run what was asked for."""
    for module in PROGRAMS:
        import_program(module)
    # A Ctrl-C is for the test run, which then ends this.
    os.setsid()
    # multiprocessing blocks signals while it starts something, which may have started this.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    asked = serve(
        socket.socket(fileno=int(sys.argv[1])), lambda start: import_program(start.module)
    )
    if asked:
        become(*asked)


if __name__ == "__main__":
    main()
