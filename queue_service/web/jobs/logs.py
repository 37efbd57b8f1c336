"""The log of a job: what its handler printed and logged, and how its attempts failed.

Lines are numbered in groups, as the worker has sent them.  In a stream the last line of a group has
its number as id, so a client that reconnects with `Last-Event-ID` misses and repeats nothing.
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from client_sdk.wire import events as wire
from client_sdk.wire.codes import Code
from client_sdk.wire.errors import WireError
from client_sdk.wire.job_log import SERVICE, LogLine, read_lines
from queue_service.errors import BadParameter
from queue_service.service.service import Service
from queue_service.store.ticket import Event, Seen
from queue_service.web.connection import begin_stream, cut, write_piece
from queue_service.web.follow import follow
from queue_service.web.jobs.batch import NDJSON
from queue_service.web.jobs.events import END, EVENT_STREAM, HEARTBEAT_S, RETRY_MS
from queue_service.web.jobs.find import find, name_in, viewer_for
from queue_service.web.jobs.problem import Problem
from queue_service.web.jobs.show import iso
from queue_service.web.keys import SERVICES
from queue_service.web.parameters import Parameters
from queue_service.web.routing import Caller
from queue_service.web.strict_json import dumps, read_object
from queue_service.web.tokens import admission_of

#: The least time between two looks at one log, in seconds: it joins lines that come close together.
LEAST_PAUSE_S = 0.1
#: The most that a request can ask for.
MOST_ATTEMPT, MOST_TAIL = 2**31, 1_000_000
DROPPED = "Older lines of this job were dropped."

Format = Literal["json", "text"]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a request asks for.  attempt, tail: 0 for all.  after: the last number it has seen."""

    attempt: int
    tail: int
    after: int
    format: Format


@dataclass(frozen=True, slots=True)
class _Shown:
    """A line of an attempt, and the number of its group if it is the last one there."""

    attempt: int
    line: LogLine
    number: int | None = None

    def as_json(self) -> str:
        line = self.line
        return dumps(
            {
                "time": iso(line.at_ms),
                "attempt": self.attempt,
                "source": line.source,
                "level": line.level or None,
                "text": line.text,
            }
        )

    def as_text(self) -> str:
        label = self.line.level or self.line.source
        return f"{iso(self.line.at_ms)} {self.attempt} {label:<7} {self.line.text}"


async def get_logs(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Answer with the log of a job, or follow it with `?follow=true` until the job ends."""
    service, viewer = caller.service, viewer_for(request, caller)
    wanted, parameters = _wanted(request), Parameters(request)
    is_followed = parameters.flag("follow")
    try:
        seen = await find(request, service, viewer)
        name = seen.request_id
    except Problem as problem:
        # The dead letter of a job that is forgotten still has its log.
        if problem.code is not Code.NOT_FOUND:
            raise
        name = name_in(request, viewer)
        if not await service.tickets.read_log(name, 0):
            raise
    if is_followed and request.headers.get("Last-Event-ID") == END:
        return web.Response(status=204)
    if is_followed and request.method != "HEAD":
        return await _stream(request, service, name, wanted)
    shown, _ = await _read(service, name, wanted, wanted.after)
    if wanted.format == "text":
        text = "".join(f"{one.as_text()}\n" for one in shown)
        return web.Response(text=text, content_type="text/plain")
    text = "".join(f"{one.as_json()}\n" for one in shown)
    return web.Response(text=text, content_type=NDJSON)


def _wanted(request: web.Request) -> _Wanted:
    parameters = Parameters(request)
    accepts_text = "text/plain" in request.headers.get("Accept", "")
    form = parameters.text("format", "text" if accepts_text else "json")
    if form not in ("json", "text"):
        raise BadParameter("format", "json or text", repr(form[:64]))
    last = request.headers.get("Last-Event-ID") or parameters.text("after")
    if last != END and not re.fullmatch(r"[0-9]{0,15}", last):
        raise BadParameter("Last-Event-ID", "the id of an event of this log", repr(last[:64]))
    return _Wanted(
        attempt=parameters.number("attempt", default=0, least=0, most=MOST_ATTEMPT),
        tail=parameters.number("tail", default=0, least=0, most=MOST_TAIL),
        after=int(last or 0) if last != END else 0,
        format="text" if form == "text" else "json",
    )


async def _read(
    service: Service, name: str, wanted: _Wanted, after: int
) -> tuple[list[_Shown], int]:
    """Return the lines after a number, and the last number; the store bounds how many there are."""
    shown: list[_Shown] = []
    is_first = after == 0
    while events := await service.tickets.read_log(name, after):
        if is_first and events[0].kind != wire.ATTEMPT:
            first = next(iter(_lines_of(events[0])), None)
            at_ms = first.at_ms if first else 0
            shown.append(_Shown(events[0].attempt, LogLine(at_ms, SERVICE, "WARNING", DROPPED)))
        is_first = False
        for event in events:
            after = event.number
            if wanted.attempt in (0, event.attempt):
                shown += _shown(event)
    return shown[-wanted.tail :], after


def _shown(event: Event) -> list[_Shown]:
    lines = _lines_of(event)
    return [
        *(_Shown(event.attempt, line) for line in lines[:-1]),
        *(_Shown(event.attempt, line, event.number) for line in lines[-1:]),
    ]


def _lines_of(event: Event) -> Sequence[LogLine]:
    match event.kind:
        case wire.LOG:
            try:
                return read_lines(json.loads(event.data))
            except (WireError, ValueError):
                return []
        case wire.FAILED:
            about = read_object(event.data)
            text = f"The attempt failed: {about.get('code')}: {about.get('message')}"
            return [LogLine(int(about.get("at_ms", 0)), SERVICE, "ERROR", text)]
        case _:
            return []


async def _stream(
    request: web.Request, service: Service, name: str, wanted: _Wanted
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Cache-Control": "no-store"})
    response.content_type = EVENT_STREAM
    response.charset = "utf-8"
    await begin_stream(request, response)
    # The client connects again and gets the status that says why.
    admission_of(request).on_end(lambda: cut(request))
    try:
        await _Stream(request, response, service, name, wanted).run()
    except ConnectionResetError:
        cut(request)
    return response


class _Stream:
    """The log of one job, as server-sent events."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        service: Service,
        name: str,
        wanted: _Wanted,
    ) -> None:
        self._request = request
        self._response = response
        self._service = service
        self._name = name
        self._wanted = wanted
        self._number = wanted.after
        self._written_at = time.monotonic()

    async def run(self) -> None:
        services = self._request.app[SERVICES]
        await self._write(f"retry: {RETRY_MS}\n\n")
        wanted = self._wanted
        async for seen in follow(
            self._request,
            self._service,
            self._name,
            longest_wait_s=lambda: HEARTBEAT_S,
            looks_in_silence=False,
            least_pause_s=LEAST_PAUSE_S,
        ):
            # The state was read before the log: once it is final, every line is stored.
            await self._send(wanted)
            wanted = _Wanted(wanted.attempt, 0, 0, wanted.format)
            if seen.is_over:
                await self._write(f"id: {END}\nevent: {END}\ndata: {dumps(_end(seen))}\n\n")
                return
            if services.draining:
                return
            if time.monotonic() - self._written_at >= HEARTBEAT_S:
                await self._write(": still here\n\n")

    async def _send(self, wanted: _Wanted) -> None:
        # Lines that are not wanted are passed as well, or each look would read them again.
        shown, self._number = await _read(self._service, self._name, wanted, self._number)
        if not shown:
            return
        texts = []
        for one in shown:
            if one.number is not None:
                texts.append(f"id: {one.number}\n")
            texts.append(f"event: log\ndata: {one.as_json()}\n\n")
        # In one write, because only the last line of a group has its number.
        await self._write("".join(texts))

    async def _write(self, text: str) -> None:
        await write_piece(self._request, self._response, text.encode())
        self._written_at = time.monotonic()


def _end(seen: Seen) -> dict[str, object]:
    return {"id": seen.id, "state": str(seen.state) if seen.known else None}
