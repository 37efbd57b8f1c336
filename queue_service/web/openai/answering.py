"""Waits for the job of a request, and answers with its result, whole or as a stream.

Disconnecting cancels the job, waiting or running.  Nothing is kept after the response.
"""

import asyncio
import contextlib
import time
from typing import Any, Protocol

from aiohttp import web

from client_sdk.wire import events as wire
from client_sdk.wire import names
from client_sdk.wire.chunks import BadChunk
from queue_service.errors import CredentialEnded, Draining, ServiceError, StoreUnavailable
from queue_service.service.service import Service
from queue_service.store.entry import Filter, Read
from queue_service.store.owners import plain_name
from queue_service.store.rules import MOST_READ_BYTES
from queue_service.store.ticket import Event, Seen, State
from queue_service.store.tickets import EVENTS_AT_ONCE
from queue_service.web.connection import begin_stream, has_left, write_piece
from queue_service.web.file_response import media_type
from queue_service.web.follow import follow
from queue_service.web.keys import SERVICES
from queue_service.web.openai.answers import comment, error_body, error_event
from queue_service.web.openai.refusals import (
    BAD_ANSWER,
    DIVERGED,
    INVALID_KEY,
    OPENAI_REQUEST_ID,
    STREAM_CUT,
    AnswerRefused,
    failure,
)
from queue_service.web.openai.transcript import Diverged
from queue_service.web.strict_json import read_object
from queue_service.web.tokens import check_admission

#: How long a result is kept if the client disconnected or the replica died, in ms: the worker may
#: have answered at the moment of the cancellation.
KEPT_MS = 10_000
#: A stream begins with the first output, or after this much waiting, in seconds.  Until then a
#: refusal by the engine is the status of the response.
HOLD_BACK_S = 0.5
#: A comment follows this much silence, in seconds.
HEARTBEAT_S = 10.0
#: Kinds of events with which an attempt begins or ends: no output before them is missed.
_BEGINNINGS = (wire.ATTEMPT, wire.FAILED)


class Rendering(Protocol):
    """How one kind of request is answered.

    stream: with events.  All raise ValueError for a result that is none of this kind.
    """

    @property
    def stream(self) -> bool:
        """Whether the client wants events."""

    def feed(self, event: Event) -> bytes:
        """Return what an event of the engine adds to the stream; raises Diverged or BadChunk."""

    def end(self, output: bytes, content_type: str, usage: dict[str, Any]) -> bytes:
        """Return the end of the stream; raises Diverged."""

    async def whole(
        self, output: bytes, content_type: str, headers: dict[str, str]
    ) -> web.Response:
        """Return the response without a stream."""


async def answer_with_result(
    request: web.Request, service: Service, name: str, rendering: Rendering
) -> web.StreamResponse:
    """Answer with the result of the job that is stored under this name."""
    answering = _Answering(request, service, name, rendering)
    try:
        return await answering.run()
    finally:
        with contextlib.suppress(ServiceError):
            await asyncio.shield(_discard(service, name, done=answering.done))


async def _discard(service: Service, name: str, *, done: bool) -> None:
    """Keep nothing of an answered job, and cancel one whose client has disconnected."""
    if done:
        await service.tickets.purge(name)
    else:
        await service.tickets.discard(name)


class _Answering:
    """One request, from the submission to its response."""

    def __init__(
        self, request: web.Request, service: Service, name: str, rendering: Rendering
    ) -> None:
        """Answer the request that is stored under this name."""
        #: Whether the job has ended; the response may end earlier, with an error.
        self.done = False
        self._request = request
        self._service = service
        self._rendering = rendering
        self._name = name
        request_id = plain_name(name)
        self._headers = {
            names.REQUEST_ID_HEADER: request_id,
            OPENAI_REQUEST_ID: request_id,
            "Cache-Control": "no-store",
        }
        self._response: web.StreamResponse | None = None
        self._written_at = self._begun_at = time.monotonic()
        self._number = 0
        self._ahead: int | None = None
        self._usage: dict[str, Any] = {}

    async def run(self) -> web.StreamResponse:
        """Answer; raises AnswerRefused for a failure before the stream began."""
        try:
            return await self._run()
        except (AnswerRefused, Diverged, Draining, StoreUnavailable, CredentialEnded) as error:
            if self._response is None or has_left(self._request):
                raise
            if isinstance(error, AnswerRefused):
                body = error.body
            elif isinstance(error, Diverged):
                body = error_body(500, DIVERGED, str(error))
            elif isinstance(error, CredentialEnded):
                body = error_body(401, INVALID_KEY, str(error))
            else:
                body = error_body(503, error.code, str(error))
            await self._send(error_event(body))
            await self._response.write_eof()
            return self._response

    async def _run(self) -> web.StreamResponse:
        following = follow(
            self._request,
            self._service,
            self._name,
            longest_wait_s=self._longest_wait_s,
            # Without a stream, a client gets nothing before the result.
            looks_in_silence=self._rendering.stream,
            ends_only=not self._rendering.stream,
        )
        async for seen in following:
            if has_left(self._request):
                break
            check_admission(self._request)
            if seen.is_over:
                return await self._end(seen)
            if self._request.app[SERVICES].draining and self._response is None:
                raise Draining
            if self._rendering.stream:
                await self._send_progress(seen)
            # A client that has seen its position gets each change of it.
            following.watches_position = bool(self._ahead)
        raise ConnectionResetError("the client has disconnected")

    def _longest_wait_s(self) -> float:
        if self._rendering.stream and self._response is None:
            return max(0.0, self._begun_at + HOLD_BACK_S - time.monotonic())
        return HEARTBEAT_S

    async def _send_progress(self, seen: Seen) -> None:
        await self._send_events()
        waited_s = time.monotonic() - self._begun_at
        if seen.state is State.QUEUED and waited_s >= HOLD_BACK_S and seen.ahead != self._ahead:
            self._ahead = seen.ahead
            await self._write(comment(f"queued, position {seen.ahead}"))
        elif seen.state is State.RUNNING and (
            self._ahead or (self._response is None and waited_s >= HOLD_BACK_S)
        ):
            # Also of one that never waited, if its engine is slow to begin.
            self._ahead = 0
            await self._write(comment("running"))
        elif time.monotonic() - self._written_at >= HEARTBEAT_S:
            await self._write(comment("still here"))

    async def _send_events(self) -> None:
        while True:
            events = await self._service.tickets.events(self._name, self._number)
            if events:
                self._check_number(events[0])
            for event in events:
                self._number = event.number
                if event.kind == wire.USAGE:
                    self._usage = read_object(event.data)
                elif event.kind in (wire.ATTEMPT, wire.DELTA):
                    await self._write(self._feed(event))
            if len(events) < EVENTS_AT_ONCE:
                return

    def _check_number(self, event: Event) -> None:
        """Raise AnswerRefused if events of this attempt were dropped before this one."""
        if event.number > self._number + 1 and event.kind not in _BEGINNINGS:
            sentence = "parts of the answer were dropped before the client had read them"
            raise AnswerRefused(500, STREAM_CUT, sentence)

    def _feed(self, event: Event) -> bytes:
        try:
            return self._rendering.feed(event)
        except BadChunk as error:
            raise AnswerRefused(502, BAD_ANSWER, str(error)) from None

    async def _end(self, seen: Seen) -> web.StreamResponse:
        self.done = True
        entry = None
        if seen.result_index:
            read = Read(Filter(request_id=seen.id, owner=seen.owner), 1, take=False)
            entry = next(iter(await self._service.sink.get(read)), None)
        if entry is not None:
            if entry.size_bytes > MOST_READ_BYTES:
                raise AnswerRefused(
                    502, BAD_ANSWER, f"the answer has {entry.size_bytes} bytes, too many for JSON"
                )
            entry = await self._service.files.with_beginning(entry, MOST_READ_BYTES)
        if seen.state is not State.SUCCEEDED or (entry is None and not seen.ticket.get("empty")):
            raise failure(seen, entry)
        output = entry.data if entry else b""
        kind = media_type(entry.tags().get(names.CONTENT_TYPE_TAG, "")) if entry else ""
        try:
            if not self._rendering.stream:
                return await self._rendering.whole(output, kind, self._headers)
            await self._send_events()
            await self._write(self._rendering.end(output, kind, self._usage))
        except ValueError as error:
            raise AnswerRefused(502, BAD_ANSWER, str(error)) from None
        assert self._response is not None
        await self._response.write_eof()
        return self._response

    async def _write(self, data: bytes) -> None:
        """Write what requires a valid credential."""
        if data:
            check_admission(self._request)
            await self._send(data)

    async def _send(self, data: bytes) -> None:
        if self._response is None:
            self._response = web.StreamResponse(headers=self._headers)
            self._response.content_type = "text/event-stream"
            self._response.charset = "utf-8"
            await begin_stream(self._request, self._response)
        await write_piece(self._request, self._response, data)
        self._written_at = time.monotonic()
