"""Runs a server so that no process of it outlives the worker.

Run it by path in an interpreter without site-packages:

    python -I -S warden.py <file descriptors: the leash, then others> <program> [arguments...]

The others are only kept open until the warden ends.  The leash is one end of a socket pair; only
the worker has the other end.  The warden writes the server's process id to it.  A byte from the
worker asks the server to end.  When the worker closes its end, or dies for any reason, the warden
kills the server and all its children.  When the server ends by itself, the warden kills the
children that it left, and exits with the server's exit code, or with 128 plus the number of the
signal.

A separate process is needed because a shell, a launcher and their children form a tree: the kernel
can kill one process when its parent dies, but not the children of that process.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
from pathlib import Path

# From linux/prctl.h.  `client_sdk.leash` has the first one too, but this program runs without
# site-packages and can import only the standard library.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

#: The exit code if the program cannot be started, as in a shell.
CANNOT_START = 127

#: Added to the number of the signal that ended the server, as in a shell.
BY_SIGNAL = 128


def main() -> None:
    """Start the server, watch it and the leash, clean up, and exit like the server."""
    kept = [int(number) for number in sys.argv[1].split(",")]
    for fd in kept:
        os.set_inheritable(fd, False)
    leash = kept[0]
    # Only the leash may end this process: a signal to a whole group must not separate it from the
    # server.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # The usual self-pipe: SIGCHLD writes to it, which wakes `select`.
    wakeup, wakeup_write = os.pipe()
    os.set_blocking(wakeup, False)
    os.set_blocking(wakeup_write, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    server = _spawn(sys.argv[2:])
    # If this warden is killed, the worker kills the server's group itself.
    with contextlib.suppress(OSError):
        os.write(leash, str(server).encode())
    code = _watch(server, leash=leash, wakeup=wakeup)
    _kill_the_rest()
    os._exit(code)


def _spawn(argv: list[str]) -> int:
    warden = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    # In case this warden is killed.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != warden:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    # Reset all signals: the worker may have been started by `nohup` or in the background of a
    # script, and the server and its children would inherit ignored and blocked signals.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"cannot start {argv[0]}: {error.strerror}\n".encode())
        os._exit(CANNOT_START)


def _watch(server: int, *, leash: int, wakeup: int) -> int:
    """Return the exit code of the server after it has ended, by itself or by the leash."""
    while True:
        while (ended := _ended()) is not None:
            if ended == server:
                # Kill the group before reaping its leader: after that, the kernel may reuse its id.
                _kill_group(server, signal.SIGKILL)
                return _reap(server)
            _reap(ended)
        readable, _, _ = select.select([leash, wakeup], [], [])
        if wakeup in readable:
            os.read(wakeup, 4096)
        if leash in readable:
            asked = _read(leash)
            _kill_group(server, signal.SIGTERM if asked else signal.SIGKILL)
            if not asked:
                return _reap(server)


def _read(leash: int) -> bytes:
    try:
        return os.read(leash, 1)
    except ConnectionError:
        # The worker died before it had read everything.
        return b""


def _ended() -> int | None:
    """Return a child that has ended and is not reaped; orphans of the server are children too."""
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
    """Kill processes outside of the server's group; as orphans they are children of the warden."""
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
