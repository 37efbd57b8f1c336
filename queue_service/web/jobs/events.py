"""Streams one job as server-sent events: its position in the queue, its output, its end.

Every event of the engine has a number, which is its id: a client that reconnects with
`Last-Event-ID` continues after it.  Events about the state have no id, because each connection
begins with the current state.  A client that reconnects after the end gets 204.
"""

import base64
import re
import time
from collections.abc import Mapping

from aiohttp import web

from client_sdk.wire import events as wire
from client_sdk.wire.failures import type_named
from queue_service.errors import BadParameter
from queue_service.service.service import Service
from queue_service.store.artifacts import read_artifacts
from queue_service.store.ticket import Event, Seen, State
from queue_service.store.tickets import EVENTS_AT_ONCE
from queue_service.web.connection import begin_stream, cut, write_piece
from queue_service.web.follow import follow
from queue_service.web.jobs.find import find, viewer_for
from queue_service.web.jobs.result import show_whole
from queue_service.web.jobs.show import describe_artifact, iso, show
from queue_service.web.keys import SERVICES
from queue_service.web.routing import Caller
from queue_service.web.strict_json import dumps, read_object
from queue_service.web.tokens import admission_of

EVENT_STREAM = "text/event-stream"
#: The id of the last event of all.
END = "end"
#: After this many silent seconds the stream sends a comment, so that no proxy closes it.
HEARTBEAT_S = 15.0
#: The least time between two looks at one job, in seconds: it joins pieces of output that come
#: close together.
LEAST_PAUSE_S = 0.05
#: How long clients wait before they reconnect, in ms; sent in the stream.
RETRY_MS = 2000


async def get_events(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Stream the events of a job, all or those after the last one that the client has seen."""
    service, viewer = caller.service, viewer_for(request, caller)
    last = request.headers.get("Last-Event-ID") or request.query.get("after", "")
    seen = await find(request, service, viewer)
    if last == END:
        return web.Response(status=204)
    if request.method == "HEAD":
        # The body of a GET ends with the job, so its length is unknown.
        return web.Response(content_type=EVENT_STREAM, charset="utf-8")
    if not re.fullmatch(r"[0-9]{0,15}", last):
        raise BadParameter("Last-Event-ID", "the id of an event of this job", repr(last[:64]))
    return await stream_events(request, service, seen.request_id, after=int(last or 0))


async def stream_events(
    request: web.Request,
    service: Service,
    name: str,
    *,
    after: int,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Stream what happens to the job of this name, until it ends or the client disconnects."""
    response = web.StreamResponse(headers={"Cache-Control": "no-store", **(headers or {})})
    response.content_type = EVENT_STREAM
    response.charset = "utf-8"
    await begin_stream(request, response)
    stream = _Stream(request, response, service, name, after)
    # The client connects again and gets the status that says why.
    admission_of(request).on_end(lambda: cut(request))
    try:
        await stream.run()
    except ConnectionResetError:
        # The client has disconnected, or reads nothing; the job goes on.
        cut(request)
    return response


class _Stream:
    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        service: Service,
        name: str,
        after: int,
    ) -> None:
        self._request = request
        self._response = response
        self._service = service
        self._name = name
        self._number = after
        #: The newest attempt whose failure was an event of this stream.
        self._failed_attempt = 0
        self._shown: tuple[object, ...] = ()
        self._written_at = time.monotonic()

    async def run(self) -> None:
        services = self._request.app[SERVICES]
        await self._write(f"retry: {RETRY_MS}\n\n")
        async for seen in follow(
            self._request,
            self._service,
            self._name,
            longest_wait_s=lambda: HEARTBEAT_S,
            looks_in_silence=False,
            watches_position=True,
            least_pause_s=LEAST_PAUSE_S,
        ):
            # Read the state before the events: once it is final, every event is stored.
            if await self._send_changes(seen) or services.draining:
                return
            if time.monotonic() - self._written_at >= HEARTBEAT_S:
                await self._write(": still here\n\n")

    async def _send_changes(self, seen: Seen) -> bool:
        """Send what is new; True when nothing more will come."""
        if not seen.known:
            await self._event("gone", {"id": seen.id}, number=END)
            return True
        if seen.has_ended:
            await self._send_events(seen)
            job = await show_whole(self._request, self._service, seen)
            # In one write: a client that reconnects after the end gets neither again.
            await self._write(self._last_failure(seen, job) + _event_text("end", job, number=END))
            return True
        state = (
            *(seen.state, seen.attempt, seen.ahead, seen.paused_until_ms),
            seen.ticket.get("stopping_at"),
        )
        if state != self._shown:
            self._shown = state
            await self._event("state", await show(self._service, seen, whole=True))
        await self._send_events(seen)
        return False

    async def _send_events(self, seen: Seen) -> None:
        if not seen.ticket.get("events"):
            return
        events: list[Event] = []
        while True:
            events = await self._service.tickets.events(self._name, self._number)
            if events and events[0].number > self._number + 1:
                # The oldest events were dropped; the result is complete.
                await self._event("cut", {"resumed_at": events[0].number})
            for event in events:
                self._number = event.number
                if event.kind == wire.FAILED:
                    self._failed_attempt = event.attempt
                if event.kind == wire.DELTA and not event.data:
                    # It has chunks for the OpenAI API and no text.
                    continue
                if event.kind == wire.ARTIFACT:
                    await self._artifacts(seen, event)
                    continue
                await self._event(event.kind, _data_of(event), number=event.number)
            if len(events) < EVENTS_AT_ONCE:
                return

    async def _artifacts(self, seen: Seen, event: Event) -> None:
        """Send an event for each artifact, in one write: only the last one has the number."""
        *first, last = [
            {**describe_artifact(self._service.name, seen.id, one), "attempt": event.attempt}
            for one in read_artifacts(event.data)
        ]
        texts = [_event_text(wire.ARTIFACT, one) for one in first]
        await self._write("".join(texts) + _event_text(wire.ARTIFACT, last, number=event.number))

    def _last_failure(self, seen: Seen, job: Mapping[str, object]) -> str:
        """Return the event of the attempt whose failure has ended the job; "" for another end."""
        error, attempt = job["error"], job["attempt"]
        has_failed = seen.state is State.FAILED and seen.ticket.get("events")
        if not has_failed or not isinstance(error, Mapping) or attempt == self._failed_attempt:
            return ""
        about = {"pause_s": None, "next_attempt_at": None, "attempt": attempt}
        return _event_text(wire.FAILED, {**error, **about})

    async def _event(
        self, kind: str, data: Mapping[str, object], *, number: int | str | None = None
    ) -> None:
        await self._write(_event_text(kind, data, number=number))

    async def _write(self, text: str) -> None:
        await write_piece(self._request, self._response, text.encode())
        self._written_at = time.monotonic()


def _event_text(kind: str, data: Mapping[str, object], *, number: int | str | None = None) -> str:
    name = f"id: {number}\n" if number is not None else ""
    return f"{name}event: {kind}\ndata: {dumps(data)}\n\n"


def _data_of(event: Event) -> Mapping[str, object]:
    match event.kind:
        case wire.DELTA:
            return {**_text_of(event.data), "tokens": event.tokens, "attempt": event.attempt}
        case wire.PROGRESS | wire.USAGE:
            return {**read_object(event.data), "attempt": event.attempt}
        case wire.FAILED:
            return _failed(event)
        case _:
            return {"attempt": event.attempt}


def _failed(event: Event) -> dict[str, object]:
    """Describe an attempt that failed and is followed by another one."""
    reported = read_object(event.data)
    code, next_at_ms = str(reported.get("code", "")), reported.get("next_at_ms")
    return {
        # An older worker names no type.
        "type": type_named(str(reported.get("type", "")), code),
        "code": code,
        "message": reported.get("message"),
        "pause_s": reported.get("pause_s"),
        "next_attempt_at": iso(next_at_ms) if isinstance(next_at_ms, int | float) else None,
        "attempt": event.attempt,
    }


def _text_of(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
