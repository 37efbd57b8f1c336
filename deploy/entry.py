"""The entry point of the installed script `penstock`: Ctrl-C ends it quietly at any moment.

The imports of a command take a moment.  A Ctrl-C in this time would print a traceback,
although nothing has been done yet.
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
    # `nohup` and scripts may start a program with Ctrl-C turned off; keep it off.
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
    # Not an exception: a module that is being imported might catch it or replace it.
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
