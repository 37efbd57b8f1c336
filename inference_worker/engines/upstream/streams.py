"""Which format a server's stream has: that of the mode, or the one that its first event shows."""

import json
from collections.abc import Iterator, Mapping
from typing import Protocol

from client_sdk.wire import media
from inference_worker.engines import openai_requests
from inference_worker.engines.engine import Delta, Event, Finished
from inference_worker.engines.upstream.openai_stream import DONE, OpenAIStream
from inference_worker.engines.upstream.options import Mode
from inference_worker.engines.upstream.sse import EventReader, LineReader
from inference_worker.engines.upstream.text_stream import (
    Dialect,
    LlamaCpp,
    Ollama,
    TextStream,
    Tgi,
)

EVENT_STREAM = "text/event-stream"
#: The types of a stream of lines that are JSON objects.
_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
#: The modes that pass a response on as it is, whatever it contains.
_UNREAD = (Mode.RAW, Mode.JSON)
_DIALECTS: Mapping[Mode | None, type[Dialect]] = {
    Mode.OLLAMA: Ollama,
    Mode.LLAMA_CPP: LlamaCpp,
    Mode.TGI: Tgi,
}
#: The modes in which a stream may consist of lines.
_OF_LINES = (Mode.AUTO, Mode.OLLAMA)


class Stream(Protocol):
    """Makes the events of a job from those of a server's stream.

    complete: the last event has arrived.
    """

    complete: bool

    def add(self, data: bytes) -> list[Event]:
        """Return the job's events for one event of the stream; raises Refused."""

    def end(self) -> list[Event]:
        """Return the last events of the job, at the end of the stream; raises Refused."""


class Reader(Protocol):
    """Finds the events in pieces of a stream."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of each event that this piece completes; raises LineTooLong."""

    def end(self) -> Iterator[bytes]:
        """Yield the data of a last event that nothing ended."""


def reader_for(content_type: str, mode: Mode, path: str) -> Reader | None:
    """Return what reads the events of a response; None if it is passed on as it is."""
    if content_type == EVENT_STREAM:
        is_unread = mode in _UNREAD and not (mode is Mode.RAW and path in media.PATHS)
        return None if is_unread else EventReader()
    return LineReader() if content_type in _LINES and mode in _OF_LINES else None


def stream_for(first: bytes, mode: Mode, path: str, tags: Mapping[str, str]) -> Stream | None:
    """Return the stream that begins with this event; None if its format is unknown."""
    if mode in (Mode.RAW, Mode.AUTO) and path in media.PATHS:
        return _Objects(tags)
    found = mode_of(first) if mode is Mode.AUTO else mode
    if path in openai_requests.TEXT and mode is not Mode.SSE:
        # Ollama, llama.cpp and TGI have the OpenAI API beside their own.
        found = Mode.OPENAI_SSE
    if found is Mode.SSE:
        return _Plain(tags)
    if found is Mode.OPENAI_SSE:
        return OpenAIStream(tags, with_chunks=path in openai_requests.TEXT)
    return TextStream(_DIALECTS[found](), tags) if found in _DIALECTS else None


def mode_of(first: bytes) -> Mode | None:
    """Return the mode for a stream that begins with this event; None if no mode fits."""
    try:
        chunk = json.loads(first)
    except (ValueError, RecursionError):
        return Mode.OPENAI_SSE if first == DONE else None
    match chunk:
        case {"choices": list()} | {"object": "error"} | {"error": {"message": str()}}:
            return Mode.OPENAI_SSE
        case {"done": bool(), "response": str()} | {"done": bool(), "message": {"role": str()}}:
            return Mode.OLLAMA
        case {"stop": bool(), "content": str()}:
            return Mode.LLAMA_CPP
        case {"token": {"text": str()}, "generated_text": _}:
            return Mode.TGI
    return None


class _Plain:
    """A stream of events whose data are the pieces of the result."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.complete = False
        self._tags = tags
        self._pieces: list[bytes] = []

    def add(self, data: bytes) -> list[Event]:
        if data == DONE:
            self.complete = True
            return []
        self._pieces.append(data)
        return [Delta(data)]

    def end(self) -> list[Event]:
        return [Finished(b"".join(self._pieces), self._tags)]


class _Objects:
    """A stream of a media API: each event is a line of the job's output, so that none is joined."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.complete = False
        self._tags = tags
        self._events: list[bytes] = []

    def add(self, data: bytes) -> list[Event]:
        if data == DONE:
            self.complete = True
            return []
        self._events.append(b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n")
        return [Delta(data.replace(b"\n", b" ") + b"\n")]

    def end(self) -> list[Event]:
        return [Finished(b"".join(self._events), self._tags, content_type=EVENT_STREAM)]
