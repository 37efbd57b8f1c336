"""Requests written by hand, down to the last byte."""

import asyncio
import re
from urllib.parse import urlsplit

from tests.running import TOKEN

#: Seconds until the service must have ended a connection that it refuses.
REFUSED_S = 10.0


class RawRequest:
    """A connection on which a test writes what it likes."""

    def __init__(self, eas: str) -> None:
        parts = urlsplit(eas)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = (parts.hostname, parts.port)
        self._path = parts.path

    async def send(
        self, body: bytes, *headers: str, half_close: bool = False, target: str = "svc"
    ) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        """Write a put with these headers and these bytes of its body."""
        head = (
            f"POST {self._path}/{target} HTTP/1.1",
            "Host: localhost",
            f"Authorization: {TOKEN}",
        )
        return await self.send_bytes(
            "\r\n".join([*head, *headers, "", ""]).encode() + body, half_close=half_close
        )

    async def send_bytes(
        self, data: bytes, *, half_close: bool = False
    ) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(data)
        if half_close:
            writer.write_eof()
        return reader, writer


async def answer_of(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, bytes]:
    """Return status and the rest of one answer; 0 when the connection ends without one."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REFUSED_S)
        status = int(head.split()[1])
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, b""
    finally:
        writer.close()
    return status, head + body
