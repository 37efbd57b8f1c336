"""Tie the engine's process, and the programs that it starts, to the life of its supervisor.

On Linux the kernel kills the engine when the supervisor ends, but not what the engine has started.
So a small process watches both, and kills the engine's group when either ends.
"""

import os
import select
import signal
from contextlib import suppress

from client_sdk.leash import tie


def leave_terminal() -> None:
    """Move this process to a session of its own.

    Ctrl-C and a hang-up reach every process of the terminal's session.  Only the supervisor acts on
    them, because the jobs that the engine holds are finished first.  The new session has a process
    group with this process's id, and the programs that a handler starts belong to it.
    """
    os.setsid()


def die_with(supervisor_pid: int) -> None:
    """End this process, and its group, no later than its supervisor."""
    if not tie(supervisor_pid, signal.SIGKILL):
        os._exit(1)
    _watch_group(supervisor_pid)


def _watch_group(supervisor_pid: int) -> None:
    engine_pid = os.getpid()
    try:
        supervisor, engine = os.pidfd_open(supervisor_pid), os.pidfd_open(engine_pid)
    except (AttributeError, OSError):
        # macOS, or a kernel before 5.3: what the engine has started may outlive a killed worker.
        return
    middle = os.fork()
    if middle:
        os.close(supervisor)
        os.close(engine)
        os.waitpid(middle, 0)
        return
    # Forked twice, so that the watcher is no child of the engine: a handler that waits for any of
    # its children must not meet it.  In a session of its own, or it would kill itself.
    os.setsid()
    if os.fork():
        os._exit(0)
    try:
        _watch(supervisor, engine, engine_pid)
    finally:
        os._exit(0)


def _watch(supervisor: int, engine: int, group: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A pipe that this process kept open would not end for its reader.
    low, high = sorted((supervisor, engine))
    os.closerange(0, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, os.sysconf("SC_OPEN_MAX"))
    poll = select.poll()
    poll.register(supervisor, select.POLLIN)
    poll.register(engine, select.POLLIN)
    # Either end counts.  The kernel kills the engine while a killed supervisor is still ending, so
    # the engine's end is often seen first.
    poll.poll()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
