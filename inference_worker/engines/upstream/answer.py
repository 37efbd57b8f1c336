"""From a server's response to the events of a job, for each mode."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import aiohttp

from client_sdk.wire import media
from inference_worker.engines import openai_requests
from inference_worker.engines.classify import read_retry_after
from inference_worker.engines.engine import RESULT_TOO_BIG, Delta, Event, Failed, Finished
from inference_worker.engines.upstream.openai_stream import DONE, OpenAIStream
from inference_worker.engines.upstream.options import Mode, UpstreamOptions
from inference_worker.engines.upstream.refused import (
    UPSTREAM_GARBAGE,
    Refused,
    blames_request,
    failed_with,
    with_short_message,
)
from inference_worker.engines.upstream.sse import EventReader, LineTooLong

#: The most bytes of an error's body that become the job's result.
MAX_ERROR_BYTES = 64 * 1024

#: JSON above this size, in bytes, is parsed in a thread: it would block the loop that renews
#: leases.
_LONG_JSON_BYTES = 256 * 1024


async def events_of(
    answer: aiohttp.ClientResponse, options: UpstreamOptions, *, path: str = ""
) -> AsyncGenerator[Event, None]:
    """Read the response; errors of the connection are raised unchanged.

    path: the job's sub-path, which says whether it came from the OpenAI API.
    """
    if not 200 <= answer.status < 300:
        yield await _error(answer, options, path)
        return
    tags = _tags(answer.headers, options)
    streamed = answer.content_type == "text/event-stream"
    try:
        match options.mode:
            case Mode.SSE if streamed:
                stream: _Plain | _Objects | OpenAIStream = _Plain(tags)
            case Mode.RAW if streamed and path in media.PATHS:
                stream = _Objects(tags)
            case _ if streamed and options.expects_chunks(path):
                stream = OpenAIStream(tags, with_chunks=path in openai_requests.TEXT)
            case mode:
                # Not a stream: the client did not ask for one, and the body is the result.
                output = await _whole(answer, options.max_answer_bytes)
                if mode is Mode.JSON and output:
                    await _check_json(output)
                # The media APIs pass on a server's response, with its type.
                kind = answer.content_type if path in media.PATHS else ""
                yield Finished(output, tags, content_type=kind)
                return
        async with aclosing(_data(answer, options.max_answer_bytes)) as whole_stream:
            async for data in whole_stream:
                for event in stream.add(data):
                    yield event
                if stream.complete:
                    break
        for event in stream.end():
            yield event
    except Refused as refused:
        yield refused.failed


async def _error(answer: aiohttp.ClientResponse, options: UpstreamOptions, path: str) -> Failed:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece[: MAX_ERROR_BYTES - len(body)]
        if len(body) >= MAX_ERROR_BYTES:
            break
    first_line = body[:300].decode(errors="replace").strip().partition("\n")[0]
    message = f"the server answered {answer.status} {answer.reason or ''}".rstrip()
    speaks_openai = path in openai_requests.PATHS or options.mode is Mode.OPENAI_SSE
    is_final = answer.status in options.final_statuses or (
        speaks_openai and blames_request(answer.status)
    )
    return failed_with(
        answer.status,
        f"{message}: {first_line}" if first_line else message,
        data=with_short_message(bytes(body)) if speaks_openai else bytes(body),
        after_s=read_retry_after(answer.headers.get("Retry-After", ""), now=time.time()),
        is_final=is_final,
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
        raise Refused(RESULT_TOO_BIG, message, retryable=False)


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
        raise Refused(UPSTREAM_GARBAGE, str(error)) from error
    for data in reader.end():
        yield data


async def _check_json(output: bytes) -> None:
    try:
        if len(output) > _LONG_JSON_BYTES:
            await asyncio.to_thread(json.loads, output)
        else:
            json.loads(output)
    except (ValueError, RecursionError) as error:
        raise Refused(UPSTREAM_GARBAGE, f"the server's answer is no JSON: {error}") from error


class _Plain:
    """A stream of events whose data are the pieces of the result."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.complete = False
        self._tags = tags
        self._pieces: list[bytes] = []

    def add(self, data: bytes) -> list[Event]:
        """Return the job's events for one event of the stream."""
        if data == DONE:
            self.complete = True
            return []
        self._pieces.append(data)
        return [Delta(data)]

    def end(self) -> list[Event]:
        """Return the last events of the job, at the end of the stream."""
        return [Finished(b"".join(self._pieces), self._tags)]


class _Objects:
    """A stream of a media API: each event is a line of the job's output, so that none is joined."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.complete = False
        self._tags = tags
        self._events: list[bytes] = []

    def add(self, data: bytes) -> list[Event]:
        """Return the job's events for one event of the stream."""
        if data == DONE:
            self.complete = True
            return []
        self._events.append(b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n")
        return [Delta(data.replace(b"\n", b" ") + b"\n")]

    def end(self) -> list[Event]:
        """Return the last events of the job, at the end of the stream."""
        return [Finished(b"".join(self._events), self._tags, content_type="text/event-stream")]
