"""Receives a payload: a small one in memory, a large one as a stream into a file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from queue_service.errors import FrameTooBig
from queue_service.service.payload_files import PayloadFiles
from queue_service.store.payload import FileOfEntry, payload_of
from queue_service.store.rules import Limits
from queue_service.web.body import held_by, let_go_of_body, read_body, read_pieces
from queue_service.web.budget import SMALL_BYTES


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload that has arrived.

    files: with it, if it is large; `data` is empty then.  of: the fingerprint of what the client
    has sent, if this was made of it.
    """

    data: bytes
    files: tuple[FileOfEntry, ...] = ()
    of: bytes = b""

    @property
    def fingerprint(self) -> bytes:
        """What tells it from other payloads."""
        file = payload_of(self.files)
        if self.of:
            return self.of
        return self.data if file is None else bytes.fromhex(file.sha256)


@asynccontextmanager
async def receiving(
    request: web.Request,
    files: PayloadFiles,
    limits: Limits,
    *,
    timeout_s: float,
    content_type: str = "",
    arrived: bytes | None = None,
) -> AsyncIterator[Payload]:
    """Give the payload to a block that puts it; after an error nothing is left of it.

    arrived: the payload, if the body was read already.

    Raises FrameTooBig above what the queue takes, and what `read_body` and `PayloadFiles.store` do.
    """
    if arrived is None:
        payload = await _receive(request, files, limits, timeout_s, content_type)
    else:
        payload = await _take(arrived, files, limits, content_type)
    try:
        yield payload
    except BaseException:
        # Shielded: a client that goes away cancels its request.
        await asyncio.shield(files.settle(payload.files))
        raise


async def _receive(
    request: web.Request, files: PayloadFiles, limits: Limits, timeout_s: float, content_type: str
) -> Payload:
    if not limits.has_files or request.content.is_eof():
        data = await read_body(request, limit_bytes=limits.payload_bytes, timeout_s=timeout_s)
        return await _take(data, files, limits, content_type)
    announced = request.content_length
    if announced is not None and announced > limits.payload_bytes:
        raise FrameTooBig(announced, limits.payload_bytes)
    begin = bytearray()
    async with aclosing(read_pieces(request, timeout_s=timeout_s)) as first:
        async for piece in first:
            begin += piece
            if len(begin) > limits.stored_bytes:
                break
            if len(begin) > SMALL_BYTES:
                held_by(request).set(len(begin))
    if len(begin) <= limits.stored_bytes:
        return Payload(bytes(begin))
    let_go_of_body(request)
    # A file may take longer than a body in memory: each piece has the time of a whole body.
    rest = read_pieces(request, timeout_s=timeout_s, is_each=True)

    async def whole() -> AsyncIterator[bytes]:
        yield bytes(begin)
        begin.clear()
        async for piece in rest:
            yield piece

    return _outside(
        await files.store(
            whole(),
            limit_bytes=limits.payload_bytes,
            content_type=content_type,
            announced_bytes=announced if "Content-Encoding" not in request.headers else None,
        )
    )


async def _take(data: bytes, files: PayloadFiles, limits: Limits, content_type: str) -> Payload:
    if len(data) > limits.payload_bytes:
        raise FrameTooBig(len(data), limits.payload_bytes)
    if len(data) <= limits.stored_bytes:
        return Payload(data)
    return _outside(await files.store_bytes(data, limits, content_type=content_type))


def _outside(file: FileOfEntry) -> Payload:
    return Payload(b"", (file,))
