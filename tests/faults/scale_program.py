"""What the autoscalers of a run call to change the number of workers, as a team's own script is.

    scale_program.py <port> <autoscaler> SERVICE FROM TO

It asks for one worker after the other, so that it can be cut short between two of them.  It
imports nothing of this repository, because it is started often.
"""

import os
import socket
import sys


def ask(port: int, *words: str) -> str:
    """Return the answer to one line; "" when nobody gives one."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(" ".join(words).encode() + b"\n")
        with connection.makefile() as answers:
            return answers.readline().strip()


def main() -> str | None:
    """Return what is wrong, or None."""
    port, autoscaler = int(sys.argv[1]), sys.argv[2]
    here, wanted = int(sys.argv[4]), int(sys.argv[5])
    if "PENSTOCK_SCALE_LEAVING" in os.environ:
        # They end by themselves: there is nothing to do, but the matrix may want to know.
        ask(port, "leaving", autoscaler)
        return None
    for _ in range(here, wanted):
        answer = ask(port, "start", autoscaler)
        if answer != "ok":
            return f"no worker was started: {answer or 'no answer'}"
    return None


if __name__ == "__main__":
    sys.exit(main())
