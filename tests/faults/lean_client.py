"""A client that speaks as much HTTP as a put needs: as curl would, and cheap for who runs it."""

import asyncio
from urllib.parse import urlsplit

from client_sdk.wire import names
from tests.running import TOKEN

#: The longest wait for an answer, in seconds.
ANSWER_S = 8.0


class Unanswered(Exception):
    """No whole answer came: what was asked may have been done, or not."""


class LeanConnection:
    """One keep-alive connection, for one put at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._head = f"Host: {parts.netloc}\r\nAuthorization: {TOKEN}\r\nContent-Length: "
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def put(self, data: bytes, request_id: str, *, priority: int) -> tuple[int, int]:
        """Put once; return the status and, when it is 200, the index.

        Raises Unanswered.
        """
        path = f"{names.EAS_PREFIX}/svc?{names.REQUEST_ID_TAG}={request_id}"
        if priority:
            path += f"&{names.PRIORITY}={priority}"
        head = f"POST {path} HTTP/1.1\r\n{self._head}{len(data)}\r\n\r\n".encode()
        try:
            async with asyncio.timeout(ANSWER_S):
                status, body = await self._ask(head + data)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.close()
            raise Unanswered(repr(error)) from error
        return status, int(body) if status == 200 else 0

    def close(self) -> None:
        """End the connection; the next put makes another."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        body = await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body
