"""Lets `penstock up`, itself forked (preloaded.py), fork its queue service and its workers.

What a program starts has to be its child: it waits for it, and the two share signals and ends.  To
fork from a program with threads is not safe, so a helper is forked before the program runs.  It
forks on request, with CLONE_PARENT: the parent of the new process is the program.
"""

import contextlib
import ctypes
import io
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from client_sdk.leash import LEASH, tie

#: Programs that the helper can become.
CHILDREN = ("queue_service", "inference_worker")

#: More than a request with an environment takes, in bytes.
REQUEST_BYTES = 1 << 20

#: Ends the buffering of standard output.
UNBUFFERED = "PYTHONUNBUFFERED"

#: From linux/sched.h.
_CLONE_PARENT = 0x00008000

#: The number of `clone`, for which Python has no function.
_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())

#: Where /proc/self/stat has the start and the end of the arguments, after the program's name.
_ARGUMENTS = slice(45, 47)


@dataclass(frozen=True)
class Start:
    """What a program asks the helper for."""

    module: str
    env: dict[str, str]
    cwd: str
    own_session: bool
    #: As for `leash.py`: the program, and the signal for when it dies.
    leash: tuple[int, int] | None


def fork_helper(is_same_start: Callable[[dict[str, str]], bool]) -> tuple[Start, list[int]] | None:
    """Fork the helper; return None in the program, and in a new child what it is to become.

    is_same_start: whether Python, started with this environment, would be as it is here.
    """
    if sys.platform != "linux" or _CLONE is None:
        return None
    program_pid = os.getpid()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        _ask_instead_of_exec(ours, is_same_start)
        return None
    ours.close()
    # A Ctrl-C is for the program.
    os.setsid()
    asked = _serve(theirs) if tie(program_pid, signal.SIGKILL) else None
    if asked is None:
        # Not `sys.exit`: what was to be done at the exit of the program is not ours.
        os._exit(0)
    return asked


def _serve(requests: socket.socket) -> tuple[Start, list[int]] | None:
    while True:
        message, fds, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 3)
        if not message:
            return None
        pid = _fork_for_parent()
        if not pid:
            requests.close()
            return Start(**json.loads(message)), fds
        for fd in fds:
            os.close(fd)
        requests.send(str(pid).encode())


def _fork_for_parent() -> int:
    """Do what os.fork does, for the parent of this process."""
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    # PyDLL: the new process has to have the interpreter's lock, as after os.fork.
    pid = ctypes.PyDLL(None).syscall(_CLONE, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        api.PyOS_AfterFork_Child()
    else:
        api.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(f"clone returned {pid}")
    return int(pid)


def _ask_instead_of_exec(
    requests: socket.socket, is_same_start: Callable[[dict[str, str]], bool]
) -> None:
    """Have `subprocess` ask the helper for programs that it can become."""
    execute: Any = subprocess._fork_exec  # type: ignore[attr-defined]
    lock = threading.Lock()

    def fork_exec(*given: Any) -> int:
        start = _start_of(*given)
        if start is None or not is_same_start(start.env):
            return int(execute(*given))
        stdin, _, _, stdout, _, stderr = given[6:12]
        streams = [mine if fd == -1 else fd for mine, fd in enumerate((stdin, stdout, stderr))]
        with lock:
            socket.send_fds(requests, [json.dumps(vars(start)).encode()], streams)
            return int(requests.recv(64))

    subprocess._fork_exec = fork_exec  # type: ignore[attr-defined]


def _start_of(
    argv: Sequence[str | bytes],
    _executables: object,
    _close_fds: bool,
    kept_fds: tuple[int, ...],
    cwd: str | None,
    env: list[bytes] | None,
    *more: Any,
) -> Start | None:
    """Return what these arguments of `_fork_exec` start, if the helper can become it."""
    *_, error_fd, _, own_session, group, gid, gids, uid, umask, at_fork, _ = more
    usual = (group, gid, gids, uid, umask, at_fork) == (-1, None, None, None, -1, None)
    words = [os.fsdecode(word) for word in argv]
    leash = None
    if words[:4] == [sys.executable, "-I", "-S", str(LEASH)]:
        leash, words = (int(words[4]), int(words[5])), words[6:]
    if not usual or kept_fds != (error_fd,) or words[:-1] != [sys.executable, "-P", "-m"]:
        return None
    if words[-1] not in CHILDREN:
        return None
    variables = os.environ if env is None else dict(_variable(item) for item in env)
    where = os.fspath(cwd or os.getcwd())
    return Start(words[-1], dict(variables), where, bool(own_session), leash)


def _variable(item: bytes) -> tuple[str, str]:
    name, _, value = item.partition(b"=")
    return os.fsdecode(name), os.fsdecode(value)


def settle(start: Start, streams: list[int]) -> None:
    """Make this new child what `leash.py` and Python's own start would have made it."""
    if start.own_session:
        os.setsid()
    if start.leash and not tie(*start.leash):
        sys.exit(1)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        if stream > 2:
            os.close(stream)
    adopt(start.env, start.cwd)
    show_as([sys.executable, "-P", "-m", start.module])


def adopt(env: Mapping[str, str], cwd: str) -> None:
    """Take this environment and folder, and heed the one variable that Python reads too early."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if env.get(UNBUFFERED):
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)


def show_as(argv: list[str]) -> None:
    """Be listed with these arguments in /proc, as far as the place of ours suffices."""
    with contextlib.suppress(OSError), open("/proc/self/stat") as file:
        first, end = map(int, file.read().rpartition(")")[2].split()[_ARGUMENTS])
        text = "\0".join(argv).encode()[: end - first - 1]
        ctypes.memmove(first, text.ljust(end - first, b"\0"), end - first)
