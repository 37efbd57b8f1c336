"""Responses whose body is a file."""

import asyncio
import base64
import re
from pathlib import Path
from typing import IO
from urllib.parse import quote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from queue_service.web.connection import WRITE_TIMEOUT_S

#: Types that a browser shows without running anything; it saves all others.
_SHOWN = frozenset(("application/json", "application/pdf", "text/plain"))
_SHOWN_KINDS = ("audio/", "image/", "video/")
#: An SVG picture may contain scripts.
_RUNNABLE = frozenset(("image/svg+xml",))
#: How much of a file is read and written at once, in bytes.
PIECE_BYTES = 256 * 1024


#: Of content that a client or a model has made: it is never taken for a page of ours.
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")


def media_type(text: str) -> str:
    """Return a media type in lower case, without parameters; "" if the text is none."""
    kind = text.partition(";")[0].strip().lower()
    return kind if _MEDIA_TYPE.fullmatch(kind) else ""


def file_headers(*, content_type: str, filename: str, sha256: str) -> dict[str, str]:
    """Return the headers of a content that a client or a model has made."""
    digest = base64.b64encode(bytes.fromhex(sha256)).decode()
    return {
        "Content-Type": content_type,
        "Content-Disposition": disposition(content_type, filename),
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, no-cache",
        **SAFE_HEADERS,
    }


def disposition(content_type: str, filename: str = "") -> str:
    """Return the header that has a browser show this type, or save it if something could run."""
    is_shown = content_type in _SHOWN or content_type.startswith(_SHOWN_KINDS)
    word = "inline" if is_shown and content_type not in _RUNNABLE else "attachment"
    return f"{word}; filename*=UTF-8''{quote(filename)}" if filename else word


class WholeFile(web.StreamResponse):
    """A response with a whole file, also to a request for a range of it.

    A read that deletes needs this: a client that got a part would have lost the rest.
    """

    def __init__(self, path: Path, size_bytes: int, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        self._path = path
        self._size_bytes = size_bytes

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head and the file; raises ConnectionError when the client has not got it all."""
        if self.prepared:
            # The server prepares every response that a handler returns, also one that was sent.
            return await super().prepare(request)
        file = await asyncio.to_thread(self._path.open, "rb")
        try:
            return await self._send(request, file)
        finally:
            await asyncio.to_thread(file.close)

    async def _send(self, request: web.BaseRequest, file: IO[bytes]) -> AbstractStreamWriter | None:
        self.content_length = self._size_bytes
        writer = await super().prepare(request)
        if request.method == "HEAD":
            return writer
        left = self._size_bytes
        while left:
            piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, left))
            if not piece:
                raise ConnectionResetError("the content is shorter than it should be")
            left -= len(piece)
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await self.write(piece)
            except TimeoutError:
                raise ConnectionResetError("the client reads nothing") from None
        return writer


class PartOfBytes(web.Response):
    """A response with bytes in memory, or the range of them that the request asks for."""

    def __init__(self, data: bytes, request: web.BaseRequest, headers: dict[str, str]) -> None:
        status, body, headers = 200, data, {**headers, "Accept-Ranges": "bytes"}
        try:
            wanted = request.http_range
        except ValueError:
            wanted = slice(None)
        if wanted.start is not None or wanted.stop is not None:
            start, stop, _ = slice(wanted.start, wanted.stop).indices(len(data))
            if start < stop:
                status, body = 206, data[start:stop]
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            else:
                status, body = 416, b""
                headers["Content-Range"] = f"bytes */{len(data)}"
        super().__init__(body=body, status=status, headers=headers)
