"""The signal handlers that a user's code, and every program it starts, finds.

A program started by `nohup`, or in the background of a script, inherits ignored signals, and an
ignored signal stays ignored in every child: `Popen.terminate()` and `multiprocessing.Pool` would
wait for ever.
"""

import os
import signal
from types import FrameType

#: Python ignores these in every process so that a failed write raises; `subprocess` gives its
#: children the default.
_IGNORED_BY_PYTHON = {signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE)}


def restore_defaults() -> None:
    """Give this process the handlers and the mask of a program started from a shell.

    Belongs to the main thread.
    """
    for number in signal.valid_signals():
        if _is_ignored(number) or signal.getsignal(number) is _do_nothing:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def keep_from_children() -> None:
    """Let the children of this process have the default handlers, whatever this one has.

    For a handler that runs in the worker's process.  What is ignored stays without effect here; a
    handler in its place, unlike an ignored signal, does not pass to a program that is started.
    """
    for number in signal.valid_signals():
        if _is_ignored(number):
            signal.signal(number, _do_nothing)
    # The event loop's handlers write to a socket that a forked child shares with this process: a
    # SIGTERM for the child would make this process leave.
    os.register_at_fork(after_in_child=_in_fork)


def _is_ignored(number: int) -> bool:
    return number not in _IGNORED_BY_PYTHON and signal.getsignal(number) is signal.SIG_IGN


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Stand for an ignored signal."""


def _in_fork() -> None:
    signal.set_wakeup_fd(-1)
    restore_defaults()
