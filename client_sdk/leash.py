"""Tie the life of a program to its parent's: the one place that asks the kernel for it.

A process may tie itself with `tie`.  To tie a program that knows nothing of this, run this file by
path in an interpreter without site-packages, and it becomes the program:

    python -I -S leash.py <pid of the parent> <signal> <program> [arguments...]

Linux sends the signal to the program when the thread that started it ends, however that
happens, kill -9 included.  Elsewhere there is no such thing and the program is just started.
This is a program and not a `preexec_fn`, because Python code between fork and exec is not safe in
a process that has threads.  It imports only the standard library.
"""

import ctypes
import os
import sys
from pathlib import Path

#: This file, for those who run it.
LEASH = Path(__file__)

#: prctl's "signal me when my parent dies", from linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def tie(parent_pid: int, signal_number: int) -> bool:
    """Ask for the signal when the parent ends; return whether the parent was still there."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    # A parent that ended before the tie was made will never send the signal.
    return os.getppid() == parent_pid


def main() -> None:
    """Tie, check that the parent is still there, and become the program."""
    if not tie(int(sys.argv[1]), int(sys.argv[2])) and sys.platform == "linux":
        sys.exit(1)
    try:
        os.execvp(sys.argv[3], sys.argv[3:])
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[3]}: {error.strerror}")


if __name__ == "__main__":
    main()
