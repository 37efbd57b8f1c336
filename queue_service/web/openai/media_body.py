"""Receives a media request: JSON in memory, a form as a stream into a file if it is large.

The service is named inside the form, maybe after its files.  So a large form is written to a file
before its owner is known; the service is admitted as soon as its name has arrived.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from client_sdk.wire import media, names
from client_sdk.wire.media import MediaPath
from queue_service.errors import FrameTooBig
from queue_service.service.file_owners import owner_of
from queue_service.service.files import Upload
from queue_service.service.service import Service
from queue_service.store.payload import PAYLOAD_ID
from queue_service.store.rules import Limits
from queue_service.web.body import held_by, let_go_of_body, read_body, read_pieces
from queue_service.web.budget import SMALL_BYTES
from queue_service.web.keys import FILES, SERVICES, SETTINGS
from queue_service.web.openai.asked import as_object, written
from queue_service.web.openai.form_scan import FormScan
from queue_service.web.openai.media_asked import MediaAsked, media_asked, service_of
from queue_service.web.payload import Payload
from queue_service.web.references import resolving
from queue_service.web.routing import Caller, OwnerSomewhere


@dataclass(frozen=True, slots=True)
class Received:
    """A request that is admitted to its service."""

    caller: Caller
    asked: MediaAsked
    payload: Payload
    content_type: str


@asynccontextmanager
async def receiving_media(
    request: web.Request, path: MediaPath, asking: OwnerSomewhere
) -> AsyncIterator[Received]:
    """Give the request to a block that puts it; after an error nothing is left of it."""
    if request.content_type == media.FORM:
        received = await _form(request, path, asking)
    else:
        received = await _json(request, path, asking)
    service, limits = received.caller.service, received.caller.service.input.limits
    files_of = owner_of(received.caller.token or service)
    try:
        if received.payload.files or received.content_type != names.JSON:
            yield received
            return
        async with resolving(received.payload, service.files, files_of, limits) as payload:
            yield replace(received, payload=payload)
    except BaseException:
        # Shielded: a client that goes away cancels its request.
        await asyncio.shield(service.files.settle(received.payload.files))
        raise


async def _json(request: web.Request, path: MediaPath, asking: OwnerSomewhere) -> Received:
    settings, services = request.app[SETTINGS], request.app[SERVICES]
    limit = max((s.input.limits.read_bytes for s in services), default=0)
    body = await read_body(request, limit_bytes=limit, timeout_s=settings.body_timeout_s)
    fields = as_object(body)
    asked = media_asked(path, fields)
    caller = await asking.somewhere.to(asked.service)
    if rest := asked.model.partition("/")[2]:
        body = written({**fields, "model": rest})
    await _check(caller, path, fields)
    limits = caller.service.input.limits
    if len(body) > limits.read_bytes:
        raise FrameTooBig(len(body), limits.read_bytes)
    if len(body) <= limits.stored_bytes:
        return Received(caller, asked, Payload(body), names.JSON)
    file = await caller.service.files.store_bytes(body, limits, content_type=names.JSON)
    return Received(caller, asked, Payload(b"", (file,)), names.JSON)


async def _check(caller: Caller, path: MediaPath, fields: dict[str, Any]) -> None:
    """Raise InvalidInput for fields that no worker takes; those of a form are left to it."""
    interfaces = caller.service.interfaces
    named: dict[str, None] = {}
    for declared in await interfaces.accepted():
        part = declared.document.get("input")
        schema = part.get("schema") if isinstance(part, dict) else None
        properties = schema.get("properties") if isinstance(schema, dict) else None
        if not isinstance(properties, dict):
            return
        named |= dict.fromkeys(properties)
    if named:
        data = written(media.fitted(path, fields, named))
        await interfaces.check(data, content_type=names.JSON, path=path)


async def _form(request: web.Request, path: MediaPath, asking: OwnerSomewhere) -> Received:
    content_type = request.headers.get("Content-Type", "")
    scan, settings = FormScan(content_type), request.app[SETTINGS]
    async with AsyncExitStack() as stack:
        form = _Form(request, asking, stack)
        form.check_size(request.content_length or 0)
        async for piece in read_pieces(request, timeout_s=settings.body_timeout_s, is_each=True):
            passed = scan.feed(piece)
            if form.caller is None and scan.model is not None:
                form.caller = await asking.somewhere.to(service_of(scan.model))
            await form.add(passed)
        scan.finish()
        asked = media_asked(path, scan.texts, scan.names)
        caller = form.caller or await asking.somewhere.to(asked.service)
        payload = await form.stored(caller.service, content_type)
    return Received(caller, asked, payload, content_type)


class _Form:
    """A form as it arrives: in memory, or in a file once it is large."""

    def __init__(self, request: web.Request, asking: OwnerSomewhere, stack: AsyncExitStack) -> None:
        self.caller: Caller | None = None
        self._request = request
        self._asking = asking
        self._stack = stack
        self._begin = bytearray()
        self._upload: Upload | None = None
        self._size_bytes = 0

    def check_size(self, size_bytes: int) -> None:
        """Raise FrameTooBig for more than the service takes, or while it is unknown, than any."""
        limit = max((one.payload_bytes for one in self._limits()), default=0)
        if size_bytes > limit:
            raise FrameTooBig(size_bytes, limit)

    async def add(self, piece: bytes) -> None:
        """Keep a piece; raises FrameTooBig or FilesFull."""
        self._size_bytes += len(piece)
        self.check_size(self._size_bytes)
        if self._upload is None:
            self._begin += piece
            if len(self._begin) > SMALL_BYTES:
                held_by(self._request).set(len(self._begin))
            if len(self._begin) <= self._most_in_memory():
                return
            self._upload = await self._stack.enter_async_context(
                await self._request.app[FILES].upload(
                    self._asking.owner,
                    announced_bytes=self._request.content_length,
                    prefix=PAYLOAD_ID,
                )
            )
            piece = bytes(self._begin)
            self._begin.clear()
            let_go_of_body(self._request)
        await self._upload.write(piece)

    async def stored(self, service: Service, content_type: str) -> Payload:
        """Return the payload, whose file belongs to the service now."""
        self.check_size(self._size_bytes)
        limits = service.input.limits
        if self._upload is not None:
            return Payload(
                b"", (await service.files.adopt(self._upload, content_type=content_type),)
            )
        data = bytes(self._begin)
        if len(data) <= limits.stored_bytes:
            return Payload(data)
        return Payload(
            b"", (await service.files.store_bytes(data, limits, content_type=content_type),)
        )

    def _limits(self) -> list[Limits]:
        services = [self.caller.service] if self.caller else self._request.app[SERVICES]
        return [one.input.limits for one in services]

    def _most_in_memory(self) -> int:
        if not self._request.app[FILES].are_kept:
            return self._size_bytes
        return min((one.stored_bytes for one in self._limits()), default=0)
