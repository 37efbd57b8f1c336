"""Signal handlers for the user's code and for the programs that it starts.

A program started by `nohup`, or in the background of a script, inherits ignored signals, and they
stay ignored in every child: `Popen.terminate()` and `multiprocessing.Pool` would wait for ever.
"""

import os
import signal
from types import FrameType

#: Python ignores these in every process, so that a failed write raises an exception; `subprocess`
#: restores the default for its children.
_IGNORED_BY_PYTHON = {signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE)}


def restore_defaults() -> None:
    """Set the handlers and the mask that a program started from a shell has.

    Call it in the main thread.
    """
    for number in signal.valid_signals():
        if _is_ignored(number) or signal.getsignal(number) is _do_nothing:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def keep_from_children() -> None:
    """Give children of this process the default handlers, even if this one ignores signals.

    For engines that run in the worker's process.  Ignored signals get a handler that does nothing:
    it has the same effect here, but started programs do not inherit it.
    """
    for number in signal.valid_signals():
        if _is_ignored(number):
            signal.signal(number, _do_nothing)
    # The event loop's handlers write to a socket that a forked child shares with this process, so a
    # SIGTERM for the child would stop this process.
    os.register_at_fork(after_in_child=_in_fork)


def _is_ignored(number: int) -> bool:
    return number not in _IGNORED_BY_PYTHON and signal.getsignal(number) is signal.SIG_IGN


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Replace an ignored signal."""


def _in_fork() -> None:
    signal.set_wakeup_fd(-1)
    restore_defaults()
