"""Tie a program's life to its parent's, then become that program.

Run by path in an interpreter without site-packages:

    python -I -S leash.py <pid of the parent> <signal> <program> [arguments...]

Linux sends the signal to the program when the thread that started it ends, however that
happens, kill -9 included.  Elsewhere there is no such thing and the program is just started.
This is a program of its own, and not a `preexec_fn`, because Python code between fork and
exec is not safe in a process that has threads.
"""

import ctypes
import os
import sys

#: prctl's "signal me when my parent dies", from linux/prctl.h.
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie, check that the parent is still there, and become the program."""
    parent, signal_number = int(sys.argv[1]), int(sys.argv[2])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        # A parent that died before the tie was made will never send the signal.
        if os.getppid() != parent:
            sys.exit(1)
    try:
        os.execvp(sys.argv[3], sys.argv[3:])
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[3]}: {error.strerror}")


if __name__ == "__main__":
    main()
