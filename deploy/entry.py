"""What the installed script `penstock` calls: the command, which Ctrl-C ends quietly at any moment.

The command's own imports take half a second, in which Python would answer Ctrl-C with a traceback
of whatever was being imported.  Nothing has been done by then, so there is nothing to say either.
"""

import os
import sys

# `python -m` looks first in the folder in which it is started: a queue.py or a redis.py there would
# take the place of Python's and the library's.  Here, before anything else is imported, that folder
# goes to the end.  `python -P -m`, as local mode and the images call it, leaves it out.
if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

import signal
from types import FrameType

from deploy.exit_codes import INTERRUPTED


def main() -> None:
    """Run the command and end the program with its exit code."""
    # A program that was started with Ctrl-C turned off, as by nohup, leaves it off.
    guarded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if guarded:
        signal.signal(signal.SIGINT, _end_at_once)
    from deploy.cli import main as command  # noqa: PLC0415

    try:
        if guarded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _end_at_once(_: int, __: FrameType | None) -> None:
    # Not by an exception: a module that is being imported may catch it, or turn it into another.
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
