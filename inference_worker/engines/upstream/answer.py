"""From a server's response to the events of a job, for each mode."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp

from inference_worker.engines.classify import read_retry_after
from inference_worker.engines.engine import (
    BAD_INPUT,
    RESULT_TOO_BIG,
    Delta,
    Event,
    Failed,
    Finished,
    Usage,
)
from inference_worker.engines.upstream.options import Mode, UpstreamOptions
from inference_worker.engines.upstream.sse import EventReader, LineTooLong

#: The connection to the server was lost, or its response was incomplete.
UPSTREAM_DOWN = "UpstreamDown"
#: The server did not respond in time.
UPSTREAM_TIMEOUT = "UpstreamTimeout"
#: The response does not fit the mode.
UPSTREAM_GARBAGE = "UpstreamGarbage"
#: The server reported an error in the middle of a stream.
UPSTREAM_ERROR = "UpstreamError"

#: The most bytes of an error's body that become the job's result.
MAX_ERROR_BYTES = 64 * 1024

#: JSON above this size, in bytes, is parsed in a thread: it would block the loop that renews
#: leases.
_LONG_JSON_BYTES = 256 * 1024

#: The longest cool-down of a slot, in seconds, whatever `Retry-After` the server sends.
LONGEST_COOLDOWN_S = 30.0

#: Statuses of an overloaded server.
_BUSY = (429, 503)

#: The data of the last event of a complete stream.
_DONE = b"[DONE]"


class _Refused(Exception):
    """The response means that the job has failed."""

    def __init__(self, code: str, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.failed = Failed(code, message, retryable=retryable)


async def events_of(
    answer: aiohttp.ClientResponse, options: UpstreamOptions
) -> AsyncGenerator[Event, None]:
    """Read the response; errors of the connection are raised unchanged."""
    if not 200 <= answer.status < 300:
        yield await _error(answer, options)
        return
    tags = _tags(answer.headers, options)
    streamed = answer.content_type == "text/event-stream"
    try:
        match options.mode:
            case Mode.SSE if streamed:
                stream: _Plain = _Plain(tags)
            case Mode.OPENAI_SSE if streamed:
                stream = _OpenAI(tags)
            case mode:
                # Not a stream: the client did not ask for one, and the body is the result.
                output = await _whole(answer, options.max_answer_bytes)
                if mode is Mode.JSON and output:
                    await _check_json(output)
                yield Finished(output, tags)
                return
        async with aclosing(_data(answer, options.max_answer_bytes)) as whole_stream:
            async for data in whole_stream:
                for event in stream.add(data):
                    yield event
                if stream.complete:
                    break
        yield stream.finished()
    except _Refused as refused:
        yield refused.failed


async def _error(answer: aiohttp.ClientResponse, options: UpstreamOptions) -> Failed:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece[: MAX_ERROR_BYTES - len(body)]
        if len(body) >= MAX_ERROR_BYTES:
            break
    first_line = body[:300].decode(errors="replace").strip().partition("\n")[0]
    message = f"the server answered {answer.status} {answer.reason or ''}".rstrip()
    after_s = read_retry_after(answer.headers.get("Retry-After", ""), now=time.time())
    return Failed(
        str(answer.status),
        f"{message}: {first_line}" if first_line else message,
        retryable=answer.status not in options.final_statuses,
        data=bytes(body),
        after_s=after_s,
        cooldown_s=min(after_s or 0.0, LONGEST_COOLDOWN_S) if answer.status in _BUSY else 0.0,
    )


def _tags(headers: Mapping[str, str], options: UpstreamOptions) -> dict[str, str]:
    # A header may contain any bytes; a tag must be valid UTF-8.
    return {
        name: headers[name].encode(errors="surrogateescape").decode(errors="replace")
        for name in options.headers
        if name in headers
    }


async def _pieces(answer: aiohttp.ClientResponse, limit: int) -> AsyncGenerator[bytes, None]:
    size = answer.content_length or 0
    if size <= limit:
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
            if size > limit:
                break
            yield piece
    if size > limit:
        message = f"the server's answer is longer than {limit} bytes"
        raise _Refused(RESULT_TOO_BIG, message, retryable=False)


async def _whole(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    return b"".join([piece async for piece in _pieces(answer, limit)])


async def _data(answer: aiohttp.ClientResponse, limit: int) -> AsyncGenerator[bytes, None]:
    reader = EventReader()
    try:
        async with aclosing(_pieces(answer, limit)) as pieces:
            async for piece in pieces:
                for data in reader.feed(piece):
                    yield data
    except LineTooLong as error:
        raise _Refused(UPSTREAM_GARBAGE, str(error)) from error
    for data in reader.end():
        yield data


async def _check_json(output: bytes) -> None:
    try:
        if len(output) > _LONG_JSON_BYTES:
            await asyncio.to_thread(json.loads, output)
        else:
            json.loads(output)
    except (ValueError, RecursionError) as error:
        raise _Refused(UPSTREAM_GARBAGE, f"the server's answer is no JSON: {error}") from error


class _Plain:
    """A stream of events whose data are the pieces of the result."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.complete = False
        self._tags = tags
        self._pieces: list[bytes] = []
        self._reason = "complete"

    def add(self, data: bytes) -> list[Event]:
        """Return the job's events for one event of the stream."""
        if data == _DONE:
            self.complete = True
            return []
        self._pieces.append(data)
        return [Delta(data)]

    def finished(self) -> Finished:
        """Return the result, at the end of the stream."""
        return Finished(b"".join(self._pieces), self._tags, self._reason)


class _OpenAI(_Plain):
    """The chunks of an OpenAI completion or chat completion; the result is their text."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        super().__init__(tags)
        self._ended = False

    def add(self, data: bytes) -> list[Event]:
        if data == _DONE:
            self.complete = True
            return []
        chunk = _chunk(data)
        events: list[Event] = []
        for choice in chunk.choices:
            if choice.text:
                self._pieces.append(choice.text.encode(errors="replace"))
                events.append(Delta(self._pieces[-1], tokens=1))
            if choice.finish_reason:
                self._ended, self._reason = True, choice.finish_reason
        return [*events, chunk.usage] if chunk.usage else events

    def finished(self) -> Finished:
        if not self.complete and not self._ended:
            # If a server dies behind a proxy, or uses HTTP/1.0, its body just ends.
            raise _Refused(UPSTREAM_DOWN, "the server's stream broke off before its end")
        return super().finished()


@dataclass(frozen=True, slots=True)
class _Choice:
    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class _Chunk:
    choices: list[_Choice]
    usage: Usage | None


def _chunk(data: bytes) -> _Chunk:
    try:
        chunk = json.loads(data)
        if error := chunk.get("error"):
            raise _stream_error(error)
        choices = [_choice(choice) for choice in chunk.get("choices") or ()]
        return _Chunk(choices, _usage(chunk.get("usage")))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        shown = data[:80].decode(errors="replace")
        message = f"expected a chunk of a completion, got {shown}"
        raise _Refused(UPSTREAM_GARBAGE, message) from error


def _choice(choice: dict[str, Any]) -> _Choice:
    if choice.get("index"):
        message = "expected one choice, since a stream has one text: n is 1, or stream is false"
        raise _Refused(BAD_INPUT, message, retryable=False)
    text = (choice.get("delta") or {}).get("content") or choice.get("text") or ""
    if not isinstance(text, str):
        raise TypeError("a text is expected")
    return _Choice(text, str(choice.get("finish_reason") or ""))


def _usage(usage: dict[str, Any] | None) -> Usage | None:
    if not usage:
        return None
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    # Never negative: they are added to counters.
    return Usage(prompt_tokens=max(0, int(prompt)), completion_tokens=max(0, int(completion)))


def _stream_error(error: Any) -> _Refused:
    if not isinstance(error, dict):
        return _Refused(UPSTREAM_ERROR, str(error))
    code = str(error.get("code") or "")
    status = code if len(code) == 3 and code.isascii() and code.isdigit() else UPSTREAM_ERROR
    return _Refused(status, str(error.get("message") or error))
