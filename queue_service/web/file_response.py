"""Responses whose body is a file."""

import asyncio
import base64
import re
from collections.abc import Iterable
from contextlib import aclosing
from urllib.parse import quote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import ETag

from queue_service.service.file_content import StoredContent
from queue_service.web.connection import WRITE_TIMEOUT_S
from queue_service.web.keys import SETTINGS
from queue_service.web.parameters import Parameters

#: Types that a browser shows without running anything; it saves all others.
_SHOWN = frozenset(("application/json", "application/pdf", "text/plain"))
_SHOWN_KINDS = ("audio/", "image/", "video/")
#: An SVG picture may contain scripts.
_RUNNABLE = frozenset(("image/svg+xml",))

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


async def content_response(
    request: web.Request,
    content: StoredContent,
    headers: dict[str, str],
    *,
    may_redirect: bool = False,
) -> web.StreamResponse:
    """Return a response with a content, or with the range of it that the request asks for.

    may_redirect: whether the client may be sent to the storage instead, if it asks for that.
    """
    if content.path is not None:
        return FileInFolder(content.path, headers=headers)
    if may_redirect and (address := await _address_for(request, content)) is not None:
        # Another client must not find an address that was made for this one, and that expires.
        sent = {"Location": address, "Cache-Control": "no-store"}
        # The client checks the content with the one, and says with the other that it has it.
        sent |= {name: text for name, text in headers.items() if name in ("Repr-Digest", "ETag")}
        return web.Response(status=307, headers=sent)
    response = RangeOfContent(content, headers)
    # Here, where an error before the first byte still becomes a response.
    await response.prepare(request)
    return response


async def _address_for(request: web.Request, content: StoredContent) -> str | None:
    """Return the address in the storage to which this request is to be redirected, else None.

    `redirect=true` asks for it, `redirect=false` refuses it, and without it a setting decides.
    """
    if content.path is not None or request.method != "GET":
        # An address is signed for one method.
        return None
    settings = request.app[SETTINGS]
    wanted = Parameters(request).flag("redirect", default=settings.files_redirect)
    return await content.address() if wanted and settings.files_addresses else None


class FileInFolder(web.FileResponse):
    """A content in the folder, or the range of it that the request asks for."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head and what was asked for, once."""
        if self.prepared:
            # The server prepares every response that a handler returns, also one that was sent.
            # The library would send a file again, and fail.
            return await web.StreamResponse.prepare(self, request)
        return await super().prepare(request)


class _Content(web.StreamResponse):
    """A response that sends pieces of a content, and takes no longer for a silent client."""

    async def _send(
        self, request: web.BaseRequest, content: StoredContent, start: int, stop: int
    ) -> AbstractStreamWriter | None:
        self.content_length = stop - start
        if request.method == "HEAD" or start == stop:
            return await super().prepare(request)
        writer, left = None, stop - start
        async with aclosing(content.pieces(start, stop)) as pieces:
            async for piece in pieces:
                if writer is None:
                    # Only now: without a first piece the response is an error.
                    writer = await super().prepare(request)
                left -= len(piece)
                try:
                    async with asyncio.timeout(WRITE_TIMEOUT_S):
                        await self.write(piece)
                except TimeoutError:
                    raise ConnectionResetError("the client reads nothing") from None
        if left:
            raise ConnectionResetError("the content is shorter than it should be")
        return writer


class WholeFile(_Content):
    """A response with a whole file, also to a request for a range of it.

    A read that deletes needs this: a client that got a part would have lost the rest.
    """

    def __init__(self, content: StoredContent, size_bytes: int, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        self._content = content
        self._size_bytes = size_bytes

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head and the file; raises ConnectionError when the client has not got it all."""
        if self.prepared:
            # The server prepares every response that a handler returns, also one that was sent.
            return await super().prepare(request)
        return await self._send(request, self._content, 0, self._size_bytes)


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


class RangeOfContent(_Content):
    """A content that is in no folder: what `web.FileResponse` is for one that is."""

    def __init__(self, content: StoredContent, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        assert content.file is not None, "the index describes what is in no folder"
        self._content, self._file = content, content.file

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head and what was asked for."""
        if self.prepared:
            return await super().prepare(request)
        size, tag = self._file.size_bytes, self._file.sha256[:32]
        self.headers["Accept-Ranges"] = "bytes"
        self.etag = tag
        status, start, stop = selected(request, size=size, tag=tag)
        self.set_status(status)
        if status in (304, 412):
            return await super().prepare(request)
        if status == 416:
            self.headers["Content-Range"] = f"bytes */{size}"
            return await super().prepare(request)
        if status == 206:
            self.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return await self._send(request, self._content, start, stop)


def selected(request: web.BaseRequest, *, size: int, tag: str) -> tuple[int, int, int]:
    """Return the status that a request gets, and which bytes: from a first one up to another."""
    if request.if_match is not None and not _has(request.if_match, tag, weak_too=False):
        return 412, 0, 0
    if request.if_none_match is not None and _has(request.if_none_match, tag, weak_too=True):
        return 304, 0, 0
    condition = request.headers.get("If-Range", "")
    if "Range" not in request.headers or (condition and condition != f'"{tag}"'):
        return 200, 0, size
    try:
        wanted = request.http_range
    except ValueError:
        return 416, 0, 0
    if wanted.start is None and wanted.stop is None:
        return 200, 0, size
    start, stop, _ = wanted.indices(size)
    return (206, start, stop) if start < stop else (416, 0, 0)


def _has(tags: Iterable[ETag], tag: str, *, weak_too: bool) -> bool:
    return any(
        one.value == "*" or (one.value == tag and (weak_too or not one.is_weak)) for one in tags
    )
