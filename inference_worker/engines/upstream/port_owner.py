"""Which process listens on a port of this machine.

The server on the port of a script need not be the one that the script started: another program may
have taken the port first, while the script's server still loads its model and fails only later.

So there are two checks.  A worker claims the port before it starts the script, so that two workers
never start servers on the same port.  And once the port accepts connections, /proc shows the owner.
If /proc cannot, as with a container that publishes the port, the server counts as the right one.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
#: The state of a listening socket in /proc/net/tcp, from include/net/tcp_states.h.
_LISTENING = "0A"
#: `struct ucred`: process, user and group.
_CREDENTIALS = struct.Struct("3i")


class PortClaimed(Exception):
    """Another worker of this machine has claimed the port; the message says which."""


def claim(port: int) -> socket.socket | None:
    """Claim the port among the workers of this machine, until the returned socket is closed.

    It uses an abstract socket, which belongs to a network namespace, like the port.  Returns None
    on systems without abstract sockets.  Raises PortClaimed.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    name = f"\0penstock-server-port-{port}"
    mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mine.bind(name)
        mine.listen(1)
    except OSError as error:
        mine.close()
        if error.errno == errno.EADDRINUSE:
            raise PortClaimed(f"another worker ({_describe(_holder(name))})") from None
        return None
    return mine


def listener(port: int, *, besides: int = 0) -> str:
    """Describe the process that listens on the port; "" if there is none or it is unknown.

    besides: ignore this process and all its descendants.
    """
    inodes = set(_listening_inodes(port))
    if not inodes:
        return ""
    owners = _owners(inodes)
    if besides and any(besides in _ancestors(pid) for pid in owners):
        return ""
    return _describe(min(owners)) if owners else ""


def _holder(name: str) -> int:
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        asking.connect(name)
        found = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid: int = _CREDENTIALS.unpack(found)[0]
        return pid
    return 0


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _owners(inodes: set[str]) -> list[int]:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for process in _PROC.glob("[0-9]*"):
        # OSError: a process of another user, or one that has just ended.
        with suppress(OSError):
            if any(os.readlink(fd) in wanted for fd in _descriptors(process)):
                found.append(int(process.name))
    return found


def _descriptors(process: Path) -> Iterator[Path]:
    for fd in (process / "fd").iterdir():
        # Skip descriptors that were closed meanwhile.
        if fd.is_symlink():
            yield fd


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        try:
            pid = int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return


def _describe(pid: int) -> str:
    # Not its command line, which may contain secrets.
    with suppress(OSError):
        name = (_PROC / str(pid) / "comm").read_text().strip()
        return f"{name!r}, process {pid}"
    return f"process {pid}" if pid else "unknown process"
