"""Chat, text and embeddings: a request becomes a job, waits in line, and is answered.

The job carries the request's id, so that it can be looked at under `/v1/services/{service}/jobs`.
A client that leaves cancels it, in line or running; what was answered is not kept.
"""

import asyncio
import codecs
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from client_sdk.wire import events as wire
from client_sdk.wire import names
from queue_service.delivery.doorbell import wait_for_any
from queue_service.errors import (
    CredentialEnded,
    Draining,
    OutcomeUnknown,
    ServiceError,
    StoreUnavailable,
)
from queue_service.service.service import Service
from queue_service.store.entry import Filter, Read
from queue_service.store.owners import plain_name
from queue_service.store.ticket import Event, Seen, State, Submission
from queue_service.store.tickets import EVENTS_AT_ONCE
from queue_service.web.body import let_go_of_body, read_body
from queue_service.web.connection import begin_stream, has_left, leaving
from queue_service.web.keys import REQUEST_IDS, SERVICES, SETTINGS
from queue_service.web.openai.answers import Chunks, Diverged, comment, error_event, whole
from queue_service.web.openai.asked import Asked, Kind, read_asked
from queue_service.web.openai.refusals import BAD_ANSWER, DIVERGED, INVALID_KEY, Refused, failure
from queue_service.web.routing import CallerSomewhere
from queue_service.web.strict_json import json_response, read_object
from queue_service.web.tokens import admission_of, check_admission

#: How long a result is kept whose client did not stay to the end, or whose replica died, in ms:
#: a worker may have answered in the very moment in which it was told to stop.
KEPT_MS = 10_000
#: A stream begins with the first thing there is to say, or after so long in line, in seconds:
#: until then a request that is refused by the engine has the status that says so.
HOLD_BACK_S = 0.5
#: The least time between two looks of one that is in line at how that moves, in seconds.
LEAST_PAUSE_S = 0.05
#: A comment is sent after so much silence, in seconds.
HEARTBEAT_S = 10.0
#: How long a client that reads nothing is waited for, in seconds.
WRITE_TIMEOUT_S = 60.0


def answer(
    kind: Kind,
) -> Callable[[web.Request, CallerSomewhere], Awaitable[web.StreamResponse]]:
    """Return the handler for one kind of request."""

    async def handle(request: web.Request, caller: CallerSomewhere) -> web.StreamResponse:
        return await _answer(request, kind, caller)

    return handle


async def _answer(
    request: web.Request, kind: Kind, somewhere: CallerSomewhere
) -> web.StreamResponse:
    settings, services = request.app[SETTINGS], request.app[SERVICES]
    # Nobody sends more of it than any service takes.
    limit = max((s.input.limits.payload_bytes for s in services), default=0)
    body = await read_body(request, limit_bytes=limit, timeout_s=settings.body_timeout_s)
    asked = read_asked(kind, body)
    caller = await somewhere.to(asked.service)
    service = caller.service
    request_id = request.app[REQUEST_IDS].next()
    submission = Submission(
        request_id=request_id,
        data=asked.data,
        digest=hashlib.sha256(asked.data).hexdigest(),
        keep_ms=KEPT_MS,
        told_ms=KEPT_MS,
        path=asked.path,
        content_type=names.JSON,
        events=asked.stream,
        putter=caller.putter,
    )
    try:
        _, name = await service.tickets.submit(submission)
    except OutcomeUnknown:
        await service.tickets.put_away(submission.stored(request_id))
        raise
    # The wait for the answer may be long, and the request is stored.
    asked = replace(asked, data=b"")
    del body, submission
    let_go_of_body(request)
    answering = _Answering(request, service, asked, name)
    try:
        return await answering.run()
    finally:
        with contextlib.suppress(ServiceError):
            await asyncio.shield(_put_away(service, name, done=answering.done))


async def _put_away(service: Service, name: str, *, done: bool) -> None:
    """Keep nothing of what was answered, and let nobody work for a client that has left."""
    if done:
        await service.tickets.purge(name)
    else:
        await service.tickets.put_away(name)


class _Answering:
    """One request, from the line to its answer."""

    def __init__(self, request: web.Request, service: Service, asked: Asked, name: str) -> None:
        """Answer a request whose name, as it is stored, is this."""
        #: Whether the job has ended; a client may have been answered although it has not.
        self.done = False
        self._request = request
        self._service = service
        self._asked = asked
        self._name = name
        request_id = plain_name(name)
        self._created_s = int(time.time())
        self._headers = {
            names.REQUEST_ID_HEADER: request_id,
            "x-request-id": request_id,
            "Cache-Control": "no-store",
        }
        self._chunks = Chunks(asked, request_id, self._created_s)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._response: web.StreamResponse | None = None
        self._written_at = self._begun_at = time.monotonic()
        self._number = 0
        self._attempt = 0
        self._ahead: int | None = None
        self._usage: dict[str, Any] = {}

    async def run(self) -> web.StreamResponse:
        """Answer; raises Refused for a failure that the client was not told in its stream."""
        try:
            return await self._run()
        except (Refused, Diverged, Draining, StoreUnavailable, CredentialEnded) as error:
            if self._response is None or has_left(self._request):
                raise
            if isinstance(error, Refused):
                told = error_event(error.status, error.word, str(error), error.failure)
            elif isinstance(error, Diverged):
                told = error_event(500, DIVERGED, str(error))
            elif isinstance(error, CredentialEnded):
                told = error_event(401, INVALID_KEY, str(error))
            else:
                told = error_event(503, error.code, str(error))
            await self._send(told)
            await self._response.write_eof()
            return self._response

    async def _run(self) -> web.StreamResponse:
        left, admission = leaving(self._request), admission_of(self._request)
        with self._service.tickets.followers.follow(self._name) as bell:
            while True:
                bells = [bell, left, admission.bell]
                if follows_line := bool(self._ahead):
                    # It was told its place, and that may change with every entry of others.
                    bells.append(self._service.input.bell)
                    await asyncio.sleep(LEAST_PAUSE_S)
                rings = [one.rings for one in bells]
                seen = await self._service.tickets.look(self._name)
                if has_left(self._request):
                    raise ConnectionResetError("the client has left")
                admission.check()
                if seen.has_ended or not seen.known:
                    return await self._end(seen)
                if self._request.app[SERVICES].draining and self._response is None:
                    raise Draining
                if self._asked.stream:
                    await self._tell(seen)
                if self._ahead and not follows_line:
                    continue
                wait_s = HEARTBEAT_S
                if self._asked.stream and self._response is None:
                    wait_s = max(0.0, self._begun_at + HOLD_BACK_S - time.monotonic())
                await wait_for_any(bells, rings, timeout_s=wait_s)

    async def _tell(self, seen: Seen) -> None:
        await self._tell_events()
        waited_s = time.monotonic() - self._begun_at
        if seen.state is State.QUEUED and waited_s >= HOLD_BACK_S and seen.ahead != self._ahead:
            self._ahead = seen.ahead
            await self._write(comment(f"queued, position {seen.ahead}"))
        elif seen.state is State.RUNNING and (
            self._ahead or (self._response is None and waited_s >= HOLD_BACK_S)
        ):
            # Also of one that never waited, when its engine is slow to say the first word.
            self._ahead = 0
            await self._write(comment("running"))
        elif time.monotonic() - self._written_at >= HEARTBEAT_S:
            await self._write(comment("still here"))

    async def _tell_events(self) -> None:
        while True:
            events = await self._service.tickets.events(self._name, self._number)
            for event in events:
                self._number = event.number
                if text := self._text_of(event):
                    await self._write(self._chunks.piece(text, event.attempt))
            if len(events) < EVENTS_AT_ONCE:
                return

    def _text_of(self, event: Event) -> str:
        if event.attempt != self._attempt:
            self._attempt = event.attempt
            self._decoder.reset()
        if event.kind == wire.USAGE:
            self._usage = read_object(event.data)
        return self._decoder.decode(event.data) if event.kind == wire.DELTA else ""

    async def _end(self, seen: Seen) -> web.StreamResponse:
        self.done = True
        entry = None
        if seen.result_index:
            read = Read(Filter(request_id=seen.id, owner=seen.owner), 1, take=False)
            entry = next(iter(await self._service.sink.get(read)), None)
        if seen.state is not State.SUCCEEDED or (entry is None and not seen.ticket.get("empty")):
            raise failure(seen, entry)
        output = entry.data if entry else b""
        if not self._asked.stream:
            try:
                body = whole(self._asked, seen.id, self._created_s, output)
            except ValueError as error:
                raise Refused(502, BAD_ANSWER, str(error)) from None
            return json_response(body, headers=self._headers)
        await self._tell_events()
        await self._write(self._chunks.end(output, self._usage))
        assert self._response is not None
        await self._response.write_eof()
        return self._response

    async def _write(self, data: bytes) -> None:
        """Write what only a valid credential may read."""
        if data:
            check_admission(self._request)
            await self._send(data)

    async def _send(self, data: bytes) -> None:
        if self._response is None:
            self._response = web.StreamResponse(headers=self._headers)
            self._response.content_type = "text/event-stream"
            self._response.charset = "utf-8"
            await begin_stream(self._request, self._response)
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._response.write(data)
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("the client reads nothing") from None
        self._written_at = time.monotonic()
