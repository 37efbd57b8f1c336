"""From a server's response to the events of a job, for each mode."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager

import aiohttp

from client_sdk.wire import media
from inference_worker.engines import openai_requests
from inference_worker.engines.classify import read_retry_after
from inference_worker.engines.engine import RESULT_TOO_BIG, Event, Failed, Finished
from inference_worker.engines.upstream.options import Mode, UpstreamOptions
from inference_worker.engines.upstream.refused import (
    UPSTREAM_GARBAGE,
    Refused,
    blames_request,
    failed_with,
    with_short_message,
)
from inference_worker.engines.upstream.sse import LineTooLong
from inference_worker.engines.upstream.streams import Reader, reader_for, stream_for

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
    try:
        if reader := reader_for(answer.content_type, options.mode, path):
            async with aclosing(_streamed(answer, reader, options, path, tags)) as events:
                async for event in events:
                    yield event
            return
        # Not a stream: the client did not ask for one, and the body is the result.
        output = await _whole(answer, options.max_answer_bytes)
        if options.mode is Mode.JSON and output:
            await _check_json(output)
        # The media APIs pass on a server's response, with its type.
        kind = answer.content_type if path in media.PATHS else ""
        yield Finished(output, tags, content_type=kind)
    except Refused as refused:
        yield refused.failed


async def _streamed(
    answer: aiohttp.ClientResponse,
    reader: Reader,
    options: UpstreamOptions,
    path: str,
    tags: Mapping[str, str],
) -> AsyncGenerator[Event, None]:
    """Yield the events of a stream as they come; raises Refused."""
    async with aclosing(_pieces(answer, options.max_answer_bytes)) as pieces:
        beginning, read = await _beginning(pieces, reader)
        stream = stream_for(read[0] if read else b"", options.mode, path, tags)
        if stream is None:
            yield Finished(beginning + b"".join([piece async for piece in pieces]), tags)
            return
        async with aclosing(_rest(read, pieces, reader)) as rest:
            async for data in rest:
                for event in stream.add(data):
                    yield event
                if stream.complete:
                    break
    for event in stream.end():
        yield event


async def _error(answer: aiohttp.ClientResponse, options: UpstreamOptions, path: str) -> Failed:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece[: MAX_ERROR_BYTES - len(body)]
        if len(body) >= MAX_ERROR_BYTES:
            break
    first_line = body[:300].decode(errors="replace").strip().partition("\n")[0]
    message = f"the server answered {answer.status} {answer.reason or ''}".rstrip()
    if answer.status in (404, 405):
        # A path that is there twice, or not at all, is the usual cause.
        message += f" for POST {answer.url.raw_path}"
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


async def _beginning(
    pieces: AsyncGenerator[bytes, None], reader: Reader
) -> tuple[bytes, list[bytes]]:
    """Read until the first event; return the bytes so far, and the events in them."""
    beginning = bytearray()
    with _long_lines_refused():
        async for piece in pieces:
            beginning += piece
            if read := list(reader.feed(piece)):
                return bytes(beginning), read
        return bytes(beginning), list(reader.end())


async def _rest(
    read: list[bytes], pieces: AsyncGenerator[bytes, None], reader: Reader
) -> AsyncGenerator[bytes, None]:
    """Yield the events that were read, and the others as they come."""
    for data in read:
        yield data
    with _long_lines_refused():
        async for piece in pieces:
            for data in reader.feed(piece):
                yield data
    for data in reader.end():
        yield data


@contextmanager
def _long_lines_refused() -> Iterator[None]:
    try:
        yield
    except LineTooLong as error:
        raise Refused(UPSTREAM_GARBAGE, str(error)) from error


async def _check_json(output: bytes) -> None:
    try:
        if len(output) > _LONG_JSON_BYTES:
            await asyncio.to_thread(json.loads, output)
        else:
            json.loads(output)
    except (ValueError, RecursionError) as error:
        raise Refused(UPSTREAM_GARBAGE, f"the server's answer is no JSON: {error}") from error
