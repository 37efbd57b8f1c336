"""Hides the worker's settings, including its token, from the engine and the programs it starts.

Models, handlers and servers run code that may have security holes, on input from clients.  They
need no settings of the worker: the supervisor sends their configuration over a pipe.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: The prefix of all settings of Penstock.
OUR_PREFIX = "PENSTOCK_"

#: prctl(2): whether other processes of this user may read this one's memory.
_PR_SET_DUMPABLE = 4


def inherited() -> dict[str, str]:
    """Return the environment for a program that this process starts."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OUR_PREFIX)}


def forget_settings() -> None:
    """Remove the settings from this process after they were read.

    Afterwards neither a child nor a reader of /proc/<pid>/environ can find them.  Another process
    of the same user cannot read the memory either, unless it has CAP_SYS_PTRACE, which root has
    outside of a container.  The price: no core dumps, and no debugger without that capability.
    """
    names = [name for name in os.environ if name.startswith(OUR_PREFIX)]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_void_p
        for name in names:
            # /proc/<pid>/environ shows the memory that the process started with, and unsetting a
            # variable does not change it.  So overwrite it.
            if place := libc.getenv(os.fsencode(name)):
                ctypes.memset(place, 0, len(os.fsencode(os.environ[name])))
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for name in names:
        del os.environ[name]


@contextmanager
def without_settings() -> Iterator[None]:
    """Remove the settings inside the block, for programs that always inherit the environment.

    In the worker this changes nothing, because it has already forgotten its settings.
    """
    ours = {name: value for name, value in os.environ.items() if name.startswith(OUR_PREFIX)}
    for name in ours:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(ours)
