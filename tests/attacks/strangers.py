"""Strangers: sockets that do with a service what they like."""

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from client_sdk.wire import names
from queue_service.process.open_files import raise_limit
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess

#: Seconds until a stranger gives up.
PATIENCE_S = 30.0

#: A whole put, as everybody sends it.
PUT = (
    f"POST {names.EAS_PREFIX}/svc HTTP/1.1\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n"
    "Content-Length: 7\r\n\r\npayload"
).encode()


def dial(service: QueueServiceProcess) -> socket.socket:
    """Open a connection and say nothing."""
    return socket.create_connection(("127.0.0.1", service.port), PATIENCE_S)


def tiny_reader(service: QueueServiceProcess) -> socket.socket:
    """Open a connection whose kernel keeps next to nothing of what comes."""
    sock = socket.socket()
    sock.settimeout(PATIENCE_S)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", service.port))
    return sock


@contextlib.contextmanager
def crowd(service: QueueServiceProcess, count: int) -> Iterator[list[socket.socket]]:
    """Hold many connections open that say nothing."""
    raise_limit()
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(dial(service)) for _ in range(count)]


def rest_of(sock: socket.socket) -> bytes:
    """Read until the other side ends the connection."""
    pieces = []
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def rss_kb(service: QueueServiceProcess) -> int:
    """Return the memory of the process behind the leash, in KiB."""
    status = Path(f"/proc/{service.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found
    return int(found[1])


async def metric(service: QueueServiceProcess, name: str) -> float:
    """Return the value of a metric without labels."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session,
        session.get(f"{service.url}/metrics") as answer,
    ):
        text = await answer.text()
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, f"there is no metric {name}"
    return float(found[1])


async def puts_and_gets(service: QueueServiceProcess) -> bool:
    """Say whether a client that means well is served."""
    address = f"{service.url}{names.EAS_PREFIX}/svc"
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}, timeout=timeout) as session:
        async with session.post(address, data=b"payload") as answer:
            stored = answer.status == 200
        async with session.get(address, params={names.AUTO_DELETE: "true"}) as answer:
            return stored and await answer.read() == b"payload"
