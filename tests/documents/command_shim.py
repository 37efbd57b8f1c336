"""Acts as `penstock` in a shell, and asks a server for it (command_server.py).

    python -I -S command_shim.py <the server's socket> [arguments...]

It imports only the standard library, and little of it.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType


def main() -> None:
    """Ask for the command, pass signals on, and end as it does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(sys.argv[1])
        start = {
            "module": "deploy.entry",
            "arguments": sys.argv[2:],
            "env": dict(os.environ),
            "cwd": os.getcwd(),
        }
        socket.send_fds(server, [json.dumps(start).encode()], [0, 1, 2])
        if not (pid := int(server.recv(64))):
            python = [sys.executable, "-P", "-m", "deploy.entry", *sys.argv[2:]]
            os.execv(sys.executable, python)

        def pass_on(number: int, frame: FrameType | None) -> None:
            try:
                # A Ctrl-C in a shell reaches all that the command has started.
                os.killpg(pid, number)
            except ProcessLookupError:
                # It has ended, or has no group of its own yet.
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, pass_on)
        status = int(server.recv(64) or b"1")
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
