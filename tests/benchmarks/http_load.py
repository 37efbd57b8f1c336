"""A client that asks as fast as it is answered, over many keep-alive connections.

It speaks just enough HTTP/1.1 to keep out of the measurement: requests are encoded once, and
of an answer only its status and Content-Length are looked at.
"""

import asyncio
import time
from typing import cast
from urllib.parse import urlsplit


def encode_post(url: str, body: bytes, *, token: str = "") -> bytes:
    """Return a whole POST as bytes."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """Sends the request again as soon as it was answered."""

    def __init__(self, request: bytes, load: "Load") -> None:
        self._request = request
        self._load = load
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        if not head.startswith(b"HTTP/1.1 200"):
            self._load.fail(head + rest)
        elif self._load.answered() and self._transport is not None:
            self._transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.fail(str(error).encode())


class Load:
    """Asks `total` times over `connections` connections."""

    def __init__(self, url: str, request: bytes, *, connections: int, total: int) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._request = request
        self._connections = connections
        self._left = total
        self._to_send = total - connections
        self._total = total
        self._done = asyncio.get_running_loop().create_future()

    async def run(self) -> float:
        """Return the answers per second."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        transports = [
            (
                await loop.create_connection(
                    lambda: _Connection(self._request, self), *self._address
                )
            )[0]
            for _ in range(self._connections)
        ]
        await self._done
        seconds = time.perf_counter() - began
        for transport in transports:
            transport.abort()
        return self._total / seconds

    def answered(self) -> bool:
        """Note an answer; True when one more is to be sent in its place."""
        self._left -= 1
        if self._left == 0:
            self._done.set_result(None)
        self._to_send -= 1
        return self._to_send >= 0

    def fail(self, why: bytes) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(f"the server answered {why!r}"))
