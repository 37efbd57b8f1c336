"""Reads a request's body within its limits, and within what the process may hold."""

import asyncio
from collections.abc import AsyncGenerator

from aiohttp import web

from queue_service.errors import BadParameter, FrameTooBig, SlowBody, UnknownEncoding
from queue_service.web.budget import SMALL_BYTES, Held
from queue_service.web.keys import ADMISSION, BUDGET, HELD
from queue_service.web.tokens import time_limit

#: Other requests get a turn after this much of one body, in bytes.
PAUSE_BYTES = 1024 * 1024
#: What the HTTP library decompresses piece by piece; it passes on any other encoding unchanged.
_ENCODINGS = frozenset(("", "identity", "gzip", "deflate"))


async def read_body(
    request: web.Request, *, limit_bytes: int, timeout_s: float, is_fixed: bool = False
) -> bytes:
    """Return the whole body.  is_fixed: the limit is not that of a payload, and cannot be changed.

    Raises FrameTooBig as soon as the body is known to be too large, before the rest is read, and
    TooMuchAtOnce or BuffersFull when this process holds too much already; also what `read_pieces`
    raises.
    """
    announced = request.content_length
    if announced is not None and announced > limit_bytes:
        raise FrameTooBig(announced, limit_bytes, is_fixed=is_fixed)
    content = request.content
    if content.is_eof():
        # Most bodies arrive together with the head: no timer and no waiting.
        _check_encoding(request)
        body = content.read_nowait()
        if len(body) > limit_bytes:
            raise FrameTooBig(None, limit_bytes, is_fixed=is_fixed)
        if len(body) > SMALL_BYTES:
            held_by(request).set(len(body))
        return body
    # One buffer: a list of one-byte pieces would take forty times their size.
    body_so_far = bytearray()
    async for chunk in read_pieces(request, timeout_s=timeout_s):
        body_so_far += chunk
        if len(body_so_far) > limit_bytes:
            raise FrameTooBig(None, limit_bytes, is_fixed=is_fixed)
        if len(body_so_far) > SMALL_BYTES:
            held_by(request).set(len(body_so_far))
    return bytes(body_so_far)


async def read_pieces(
    request: web.Request, *, timeout_s: float, is_each: bool = False
) -> AsyncGenerator[bytes]:
    """Yield the body as it arrives, decompressed.

    timeout_s: how long the client may take for the whole body; is_each: for each piece.
    Raises SlowBody when the client takes too long, UnknownEncoding, and BadParameter when the body
    is not encoded as its head says; aiohttp's error when the connection ends midway.
    """
    _check_encoding(request)
    content, loop = request.content, asyncio.get_running_loop()
    left_s, since_pause = timeout_s, 0
    try:
        while True:
            # Only the client's time counts, not the time that the caller spends on a piece.
            began = loop.time()
            async with time_limit(request, max(0.0, left_s)):
                chunk = await content.readany()
            if not is_each:
                left_s -= loop.time() - began
            if not chunk:
                return
            yield chunk
            since_pause += len(chunk)
            if since_pause >= PAUSE_BYTES:
                # A small packet may decompress to a huge body without ever waiting for the network.
                since_pause = 0
                await asyncio.sleep(0)
    except TimeoutError:
        raise SlowBody(timeout_s) from None
    except web.RequestPayloadError as error:
        # Nothing after the error can be read.
        drop_rest_of_body(request)
        came = " ".join(str(error).split())[:128]
        raise BadParameter("the body", "one that is encoded as the head says", came) from None


def drop_rest_of_body(request: web.BaseRequest) -> None:
    """Read no more of a compressed body that was not read to its end.

    The library reads the rest of a refused body for a while, so that its client sees the response.
    For a compressed one that would be decompressing in vain, while other requests wait.
    """
    if "Content-Encoding" in request.headers and not request.content.is_eof():
        request.content.feed_eof()
        request.protocol.close()


def held_by(request: web.Request) -> Held:
    """Return the bytes of the process's budget that this request holds."""
    held = request.get(HELD)
    if held is None:
        admission = request.get(ADMISSION)
        # Only the admin token has no admission: no other body is read without one.
        holder = admission.holder if admission is not None else "operator"
        held = request[HELD] = request.app[BUDGET].hold(holder)
    return held


def let_go_of_body(request: web.Request) -> None:
    """Release the bytes of the body: it is stored, and no longer held here."""
    if (held := request.get(HELD)) is not None:
        held.release()


def _check_encoding(request: web.Request) -> None:
    encoding = request.headers.get("Content-Encoding", "")
    if encoding and encoding.strip().lower() not in _ENCODINGS:
        raise UnknownEncoding(encoding[:64])
