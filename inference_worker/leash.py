"""Ends the engine's process, and the programs that it starts, with its supervisor.

On Linux the kernel kills the engine when the supervisor ends, but not the programs that the engine
has started.  So a small process watches both, and kills the engine's group when either ends.
"""

import os
import select
import signal
from contextlib import suppress

from client_sdk.leash import tie


def leave_terminal() -> None:
    """Move this process to a new session.

    Ctrl-C and SIGHUP reach every process of the terminal's session.  Only the supervisor may react,
    because the engine must finish its jobs first.  The new session also has a new process group, to
    which all programs of the handler belong.
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
    # Forked twice, so that the watcher is not a child of the engine: a handler that waits for any
    # child must not get it.  In its own session, or killing the group would kill the watcher too.
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
    # Close all inherited descriptors: a reader of a pipe sees no end while this process holds it.
    low, high = sorted((supervisor, engine))
    os.closerange(0, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, os.sysconf("SC_OPEN_MAX"))
    poll = select.poll()
    poll.register(supervisor, select.POLLIN)
    poll.register(engine, select.POLLIN)
    # Watch both: after a kill of the supervisor, the kernel kills the engine while the supervisor
    # is still exiting, so the engine's end is often visible first.
    poll.poll()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
