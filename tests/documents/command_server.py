"""Forks `penstock` for a shell: pasted commands start it often, and most of a start is imports.

    python -P -m tests.documents.command_server < the listening socket

A shell runs `SHIM` in its place, a process of the shell that acts as the command: it sends what
the shell gave it, passes signals on, and ends as the command does.  What a fork cannot be, because
its environment differs where Python reads it, the shim starts with a new interpreter.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from client_sdk.leash import LEASH
from tests.documents.blocks import ROOT
from tests.forking import REQUEST_BYTES, Start
from tests.preloaded import COMMANDS, PROGRAMS, ROOM, become, import_program, read_at_start

#: What runs in place of `penstock`.
SHIM = Path(__file__).with_name("command_shim.py")

#: The answer to what cannot be forked.
REFUSED = b"0"


@contextmanager
def command_server(folder: Path, env: dict[str, str]) -> Iterator[Path]:
    """Run a server for commands with this environment; yield the path of its socket."""
    path = folder / "commands"
    leash = [str(LEASH), str(os.getpid()), str(int(signal.SIGKILL))]
    python = [sys.executable, "-P", "-m", "tests.documents.command_server", ROOM]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, "-I", "-S", *leash, *python],
            stdin=listener.fileno(),
            cwd=ROOT,
            env=env,
            start_new_session=True,
        )
    try:
        yield path
    finally:
        server.kill()
        server.wait()


def main() -> None:
    """Serve each connection in a process of its own; in a child of that, run the command."""
    for module in (*PROGRAMS, *COMMANDS):
        import_program(module)
    listener = socket.socket(fileno=os.dup(0))
    while True:
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            # Of those that have ended meanwhile.
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            continue
        listener.close()
        if asked := _attend(connection):
            become(*asked)
        return


def _attend(connection: socket.socket) -> tuple[Start, list[int]] | None:
    """Fork, and report to the shim; return in the child what it is to become."""
    message, files, _, _ = socket.recv_fds(connection, REQUEST_BYTES, 3)
    start = Start(**json.loads(message), own_session=True, leash=(os.getpid(), signal.SIGKILL))
    if read_at_start(start.env) != read_at_start(os.environ):
        connection.send(REFUSED)
        return None
    if not (pid := os.fork()):
        connection.close()
        return start, files
    for file in files:
        os.close(file)
    connection.send(str(pid).encode())
    ended = os.pidfd_open(pid)
    # The shim sends nothing more: its end is the only thing to read.
    ready, _, _ = select.select([connection.fileno(), ended], [], [])
    if ended not in ready:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    return None


if __name__ == "__main__":
    main()
