"""Lets `subprocess` and `multiprocessing` fork from a process that has imported what they start.

What a program starts has to be its child: it waits for it, and the two share signals and ends.  To
fork from a program with threads is not safe, so a helper does it, with CLONE_PARENT: the parent of
the new process is the program.  A forked `penstock up` has such a helper for its queue service and
its workers, and a forked worker has one for its engine's process.
"""

import contextlib
import ctypes
import fcntl
import io
import json
import multiprocessing.util
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from client_sdk.leash import LEASH, tie

#: More than a request with an environment takes, in bytes; and its open files.
REQUEST_BYTES = 1 << 20
REQUEST_FILES = 32

#: In place of a module: what multiprocessing starts.  The arguments begin with its code.
SPAWNED = "multiprocessing"

#: The signals of a terminal or an operator, which reach a whole process group.
_OF_THE_PROGRAM = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}

#: From linux/sched.h.
_CLONE_PARENT = 0x00008000

#: The number of `clone`, for which Python has no function.
_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())

#: Where /proc/self/stat has the start and the end of the arguments, after the program's name.
_ARGUMENTS = slice(45, 47)


@dataclass(frozen=True)
class Start:
    """A program to fork: what `python -m` is given, and how it is started.

    files: the numbers of the open files that it has besides its three streams.
    """

    module: str
    arguments: list[str]
    env: dict[str, str]
    cwd: str
    own_session: bool
    #: As for `leash.py`: the program, and the signal for when it dies.
    leash: tuple[int, int] | None
    files: list[int] = field(default_factory=list)


def is_available() -> bool:
    """Say whether a process can be forked here for its parent."""
    return sys.platform == "linux" and _CLONE is not None


def fork_helper(can_fork: Callable[[Start], bool]) -> tuple[Start, list[int]] | None:
    """Fork the helper; return None in the program, and in a new child what it is to become."""
    program_pid = os.getpid()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        ask_instead_of_exec(lambda: ours, can_fork)
        return None
    ours.close()
    # A Ctrl-C is for the program.  The helper stays in its session and its process group, because
    # what it forks belongs there too.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_PROGRAM)
    show_as(["fork-helper"])
    asked = serve(theirs) if tie(program_pid, signal.SIGKILL) else None
    if asked is None:
        # Not `sys.exit`: what was to be done at the exit of the program is not ours.
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return asked


def serve(
    requests: socket.socket, prepare: Callable[[Start], None] = lambda start: None
) -> tuple[Start, list[int]] | None:
    """Fork for each request; return None at the end, and in a child what it is to become."""
    while True:
        message, fds, _, _ = socket.recv_fds(requests, REQUEST_BYTES, REQUEST_FILES)
        if not message:
            return None
        start = Start(**json.loads(message))
        prepare(start)
        pid = _fork_for_parent()
        if not pid:
            requests.close()
            return start, fds
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


def ask_instead_of_exec(
    requests: Callable[[], socket.socket], can_fork: Callable[[Start], bool]
) -> None:
    """Have a helper, who listens at `requests`, fork what it can instead of starting it."""
    execute: Any = subprocess._fork_exec  # type: ignore[attr-defined]
    util: Any = multiprocessing.util
    spawn = util.spawnv_passfds
    # To start the helper is a call of this function too.
    lock = threading.RLock()

    def ask(start: Start, files: Sequence[int]) -> int:
        with lock:
            helper = requests()
            socket.send_fds(helper, [json.dumps(vars(start)).encode()], files)
            return int(helper.recv(64))

    def fork_exec(*given: Any) -> int:
        start = _start_of(*given)
        if start is None or not can_fork(start):
            return int(execute(*given))
        stdin, _, _, stdout, _, stderr = given[6:12]
        streams = [mine if fd == -1 else fd for mine, fd in enumerate((stdin, stdout, stderr))]
        return ask(start, streams)

    def spawnv_passfds(path: bytes, args: Sequence[str | bytes], passed: Sequence[int]) -> int:
        start = _start_of_spawn(args, passed)
        if start is None or not can_fork(start):
            return int(spawn(path, args, passed))
        return ask(start, [0, 1, 2, *start.files])

    subprocess._fork_exec = fork_exec  # type: ignore[attr-defined]
    util.spawnv_passfds = spawnv_passfds


def _start_of(
    argv: Sequence[str | bytes],
    _executables: object,
    _close_fds: bool,
    kept_fds: tuple[int, ...],
    cwd: str | None,
    env: list[bytes] | None,
    *more: Any,
) -> Start | None:
    """Return what these arguments of `_fork_exec` start, if a fork would be the same."""
    *_, error_fd, _, own_session, group, gid, gids, uid, umask, at_fork, _ = more
    usual = (group, gid, gids, uid, umask, at_fork) == (-1, None, None, None, -1, None)
    words = [os.fsdecode(word) for word in argv]
    leash = None
    if words[:4] == [sys.executable, "-I", "-S", str(LEASH)]:
        leash, words = (int(words[4]), int(words[5])), words[6:]
    where = os.fspath(cwd or os.getcwd())
    if words[:3] == [sys.executable, "-P", "-m"]:
        del words[1]
    elif where != os.getcwd():
        # A module of that folder may come before Python's, which a fork would not see.
        return None
    if not usual or kept_fds != (error_fd,) or words[:2] != [sys.executable, "-m"]:
        return None
    variables = os.environ if env is None else dict(_variable(item) for item in env)
    return Start(words[2], words[3:], dict(variables), where, bool(own_session), leash)


def _start_of_spawn(argv: Sequence[str | bytes], passed: Sequence[int]) -> Start | None:
    """Return what these arguments of `spawnv_passfds` start, if a fork would be the same."""
    program, *words = map(os.fsdecode, argv)
    # The child of a run with PYTHONDONTWRITEBYTECODE may write some all the same.
    if words[:1] == ["-B"]:
        del words[0]
    if program != sys.executable or words[:1] != ["-c"]:
        return None
    files = sorted(map(int, passed))
    return Start(SPAWNED, words[1:], dict(os.environ), os.getcwd(), False, None, files)


def _variable(item: bytes) -> tuple[str, str]:
    name, _, value = item.partition(b"=")
    return os.fsdecode(name), os.fsdecode(value)


def settle(start: Start, files: list[int]) -> None:
    """Make this new child what `leash.py` and Python's own start would have made it."""
    if start.own_session:
        os.setsid()
    if start.leash and not tie(*start.leash):
        sys.exit(1)
    _place(files, [0, 1, 2, *start.files])
    os.chdir(start.cwd)
    os.environ.clear()
    os.environ.update(start.env)
    # The buffering is that of a terminal, of a file, or none, if a variable says so.
    unbuffered = bool(start.env.get("PYTHONUNBUFFERED"))
    sys.stdout = io.TextIOWrapper(
        open(1, "wb", 0 if unbuffered else -1, closefd=False),  # noqa: SIM115
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=os.isatty(1),
        write_through=unbuffered,
    )
    option = ["-c"] if start.module == SPAWNED else ["-m", start.module]
    show_as([sys.executable, *option, *start.arguments])


def _place(files: list[int], numbers: list[int]) -> None:
    """Give open files the numbers that they have in the program that sent them."""
    # First out of the way: each may have the number that another is to get.
    aside = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, max(numbers) + 1) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(aside, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def show_as(argv: list[str]) -> None:
    """Be listed with these arguments in /proc, as far as the place of ours suffices."""
    with contextlib.suppress(OSError), open("/proc/self/stat") as file:
        first, end = map(int, file.read().rpartition(")")[2].split()[_ARGUMENTS])
        text = "\0".join(argv).encode()[: end - first - 1]
        ctypes.memmove(first, text.ljust(end - first, b"\0"), end - first)
