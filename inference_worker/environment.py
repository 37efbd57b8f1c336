"""Keep the worker's settings, its token among them, from the engine and all that it starts.

A model, a handler and a server beside the worker run code that may have faults, and some of it
reads what clients send.  They need no setting of the worker: what they are told comes over a pipe.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: What the worker's own settings begin with, and those of whatever else of Penstock runs here.
OUR_PREFIX = "PENSTOCK_"

#: prctl(2): whether other processes of this user may look into this one.
_PR_SET_DUMPABLE = 4


def inherited() -> dict[str, str]:
    """Return the environment for a program that this one starts."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OUR_PREFIX)}


def forget_settings() -> None:
    """Remove the settings from this process, once they are read, and close it to others.

    Afterwards neither a child nor a process that reads /proc/<pid>/environ finds them.  Another
    process of the same user cannot read the memory either, unless it has CAP_SYS_PTRACE, which
    root has outside of a container.  The price: no core dump, and no debugger without that right.
    """
    names = [name for name in os.environ if name.startswith(OUR_PREFIX)]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_void_p
        for name in names:
            # The kernel shows the memory that the process began with, which to unset a variable
            # leaves as it is.
            if place := libc.getenv(os.fsencode(name)):
                ctypes.memset(place, 0, len(os.fsencode(os.environ[name])))
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for name in names:
        del os.environ[name]


@contextmanager
def without_settings() -> Iterator[None]:
    """Start programs in here that nobody can give an environment of their own.

    In the worker this changes nothing, because it has forgotten its settings by then.
    """
    ours = {name: value for name, value in os.environ.items() if name.startswith(OUR_PREFIX)}
    for name in ours:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(ours)
