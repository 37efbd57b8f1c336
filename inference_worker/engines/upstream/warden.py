"""Run a server so that nothing of it outlives the worker, and become nothing else.

Run by path in an interpreter without site-packages:

    python -I -S warden.py <file descriptor of the leash> <program> [arguments...]

The leash is one end of a socket pair whose other end only the worker has.  The server's process id
is written to it.  A byte on it asks the server to end.  Its end, which comes when the worker lets
go or dies in whatever way, kills the server and everything that it has started.  When the server
ends by itself, what it left behind is killed too, and this process ends as the server did: with
its exit code, or 128 and the signal.

This is a process of its own because a shell, a launcher and their children form a tree: the
kernel can tie one process to the life of its parent, but not the children of that process.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
from pathlib import Path

# From linux/prctl.h.  `client_sdk.leash` has the first one too, but this program runs
# without the packages and imports only the standard library.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

#: What a program that cannot be started exits with, as in a shell.
CANNOT_START = 127

#: Added to the number of the signal that ended the server, as in a shell.
BY_SIGNAL = 128


def main() -> None:
    """Start the server, watch it and the leash, clear up, and exit as the server did."""
    leash = int(sys.argv[1])
    os.set_inheritable(leash, False)
    # What ends this process is the leash alone; a signal sent to everybody must not part the two.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    told, telling = os.pipe()
    os.set_blocking(told, False)
    os.set_blocking(telling, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(telling, warn_on_full_buffer=False)
    server = _spawn(sys.argv[2:])
    # Should this warden be killed, the worker can still kill the server's group.
    with contextlib.suppress(OSError):
        os.write(leash, str(server).encode())
    code = _watch(server, leash=leash, told=told)
    _kill_the_rest()
    os._exit(code)


def _spawn(argv: list[str]) -> int:
    warden = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    # Only for the case that this warden itself is killed.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != warden:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    # All of them: the worker may have been started by `nohup` or in the background of a script,
    # and a signal that is ignored or blocked here would be so in the server and its children.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"cannot start {argv[0]}: {error.strerror}\n".encode())
        os._exit(CANNOT_START)


def _watch(server: int, *, leash: int, told: int) -> int:
    """Return the exit code of the server once it has ended, by itself or by the leash."""
    while True:
        while (ended := _ended()) is not None:
            if ended == server:
                # While its dead leader is not reaped, nobody else can have the group's number.
                _kill_group(server, signal.SIGKILL)
                return _reap(server)
            _reap(ended)
        readable, _, _ = select.select([leash, told], [], [])
        if told in readable:
            os.read(told, 4096)
        if leash in readable:
            asked = _read(leash)
            _kill_group(server, signal.SIGTERM if asked else signal.SIGKILL)
            if not asked:
                return _reap(server)


def _read(leash: int) -> bytes:
    try:
        return os.read(leash, 1)
    except ConnectionError:
        # The worker died before it had read all that was written to it.
        return b""


def _ended() -> int | None:
    """Return a child that has ended and is not reaped, or one that was left to us by another."""
    with contextlib.suppress(ChildProcessError):
        seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return seen.si_pid if seen is not None else None
    return None


def _reap(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return BY_SIGNAL - code if code < 0 else code


def _kill_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _kill_the_rest() -> None:
    """Kill what left the server's group; whose parent dies becomes a child of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while children.exists() and (left := children.read_text().split()):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(pid), 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
