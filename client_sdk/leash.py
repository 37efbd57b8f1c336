"""End a program when its parent ends, by asking the kernel (PR_SET_PDEATHSIG).

A process calls `tie` for itself.  For a program that does not, run this file by path in an
interpreter without site-packages; it then becomes the program:

    python -I -S leash.py <pid of the parent> <signal> <program> [arguments...]

Linux sends the signal when the thread that started the program ends, for any reason including
kill -9.  Other systems have no such call; there the program is only started.  This is a program and
not a `preexec_fn`, because Python code between fork and exec is not safe in a process with threads.
It imports only the standard library.
"""

import ctypes
import os
import sys
from pathlib import Path

#: The path of this file, to run it as a program.
LEASH = Path(__file__)

#: prctl's "signal me when my parent dies", from linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def tie(parent_pid: int, signal_number: int) -> bool:
    """Ask for the signal when the parent ends; return whether the parent is still alive."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    # Checked after the call: the kernel sends no signal for a parent that ended before it.
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
