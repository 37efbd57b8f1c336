"""Sends the events of running jobs to the service, for clients that follow them.

Pieces of output are collected for a few hundredths of a second: a client still sees the text grow,
and the store does not get a request for every token.  Deliveries without followers cost nothing.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from client_sdk.wire import events as wire_events
from client_sdk.wire.artifacts import MOST_ARTIFACTS, Added, write_added
from client_sdk.wire.job_log import WORKER, LogLine, as_text, write_lines
from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import Artifact, Delta, Event, Failed, Logged, Progress, Usage

#: For how long pieces are collected, in seconds.
GATHER_S = 0.04
#: The most bytes of one event; a longer one could exceed the service's limit of a message.
MAX_EVENT_BYTES = 512 * 1024
#: The longest encoding of a character in UTF-8, in bytes.
_LONGEST_CHARACTER = 4


@dataclass(slots=True)
class _Report:
    """The events of one delivery.

    output: all pieces so far; `sent` bytes of them were sent.  chunks: the same of their chunks.
    """

    delivery: Delivery
    number: int = 0
    output: bytearray = field(default_factory=bytearray)
    sent: int = 0
    tokens: int = 0
    chunks: bytearray = field(default_factory=bytearray)
    chunks_sent: int = 0
    progress: Progress | None = None
    usage: Usage | None = None
    #: By name, all artifacts so far, and those that were not sent.
    artifacts: dict[str, Added] = field(default_factory=dict)
    unsent: dict[str, Added] = field(default_factory=dict)
    lines: list[LogLine] = field(default_factory=list)


class Reporter:
    """Sends the events of all running jobs over one connection."""

    def __init__(self, send_event: Callable[[wire_events.Event], None]) -> None:
        self._send_event = send_event
        self._reports: dict[int, _Report] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, delivery: Delivery, event: Event) -> None:
        """Add an event; it is sent a moment later.  A failure becomes a line of the log."""
        report = self._reports.get(delivery.index)
        if report is None:
            report = self._reports[delivery.index] = _Report(delivery)
        match event:
            case Delta(data, tokens, chunks):
                report.output += data
                report.tokens += tokens
                report.chunks += chunks
            case Progress():
                report.progress = event
            case Usage():
                report.usage = event
            case Logged(lines):
                report.lines += lines
            case Failed(code=code, message=message):
                text = as_text(f"The attempt failed: {code}: {message}")
                report.lines.append(LogLine(int(time.time() * 1000), WORKER, "ERROR", text))
            case Artifact(name=name, file=file) if (
                name in report.artifacts or len(report.artifacts) < MOST_ARTIFACTS
            ):
                if name in report.unsent:
                    # The service removes a replaced file only if it was reported.
                    self._flush_artifacts(report)
                report.artifacts[name] = report.unsent[name] = Added(name, file)
            case _:
                return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._flush_all)

    def move_to(self, newer: Delivery) -> None:
        """Report the job for a newer attempt, and send its output again from the beginning.

        A new attempt begins with empty output for the clients that follow the job.
        """
        report = self._reports.get(newer.index)
        if report is not None:
            report.delivery, report.number, report.sent, report.chunks_sent = newer, 0, 0, 0
            # In one event, because the first artifact of an attempt replaces those before it.
            report.unsent = dict(report.artifacts)
            self._flush(report, whole=False)

    def finish(self, delivery: Delivery) -> None:
        """Send the remaining events of a job that has ended; call this before its answer."""
        report = self._reports.pop(delivery.index, None)
        if report is not None:
            self._flush(report, whole=True)

    def _flush_all(self) -> None:
        self._timer = None
        for report in self._reports.values():
            self._flush(report, whole=False)

    def _flush(self, report: _Report, *, whole: bool) -> None:
        self._flush_output(report, whole=whole)
        if report.progress is not None:
            about = {"fraction": report.progress.fraction, "note": report.progress.note}
            self._send(report, wire_events.PROGRESS, json.dumps(about).encode())
            report.progress = None
        if report.usage is not None:
            about = {
                "prompt_tokens": report.usage.prompt_tokens,
                "completion_tokens": report.usage.completion_tokens,
            }
            self._send(report, wire_events.USAGE, json.dumps(about).encode())
            report.usage = None
        for data in write_lines(report.lines):
            self._send(report, wire_events.LOG, data)
        report.lines = []
        self._flush_artifacts(report)

    def _flush_artifacts(self, report: _Report) -> None:
        if report.unsent:
            self._send(report, wire_events.ARTIFACT, write_added(report.unsent.values()))
            report.unsent = {}

    def _flush_output(self, report: _Report, *, whole: bool) -> None:
        end = len(report.output) if whole else whole_characters(report.output)
        while report.sent < end or report.chunks_sent < len(report.chunks):
            chunks = bytes(_part(report.chunks, report.chunks_sent, len(report.chunks)))
            report.chunks_sent += len(chunks)
            data = b""
            # Text must not arrive before the chunks that describe it.
            if report.chunks_sent == len(report.chunks):
                data = bytes(_part(report.output, report.sent, end))
                if report.sent + len(data) < end:
                    data = data[: whole_characters(data)]
            self._send(report, wire_events.DELTA, data, report.tokens, chunks)
            report.sent, report.tokens = report.sent + len(data), 0

    def _send(
        self, report: _Report, kind: str, data: bytes, tokens: int = 0, chunks: bytes = b""
    ) -> None:
        report.number += 1
        delivery = report.delivery
        self._send_event(
            wire_events.Event(
                index=delivery.index,
                attempt=delivery.attempt,
                request_id=delivery.request_id,
                number=report.number,
                kind=kind,
                data=data,
                tokens=tokens,
                chunks=chunks,
            )
        )


def _part(data: bytearray, start: int, end: int) -> bytearray:
    return data[start : min(end, start + MAX_EVENT_BYTES)]


def whole_characters(data: bytes | bytearray) -> int:
    """Return the length without an incomplete UTF-8 character at the end."""
    for back in range(1, min(_LONGEST_CHARACTER, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < length else len(data)
        if byte < 0x80:
            break
    return len(data)
