"""List, describe and cancel batches; read what their lines have come to."""

import re

from aiohttp import web

from queue_service.service.batches import parts
from queue_service.service.batches.errors import NoSuchBatch
from queue_service.service.files import FileOwner
from queue_service.store.batch import Batch
from queue_service.web.batches.described import described, listed
from queue_service.web.connection import begin_stream, write_piece
from queue_service.web.file_response import content_response
from queue_service.web.keys import BATCHES, FILES
from queue_service.web.parameters import Parameters
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import check_admission, settle

#: The batches of one page: by default, and at most, which is OpenAI's.
PAGE, MAX_PAGE = 20, 100
_JSON_LINES = "application/jsonl"
#: A range from a byte to the end.
_FROM = re.compile("bytes=([0-9]{1,18})-")


async def list_batches(request: web.Request, owner: FileOwner) -> web.Response:
    """List the owner's batches, the newest first."""
    asked = Parameters(request)
    count = asked.number("limit", default=PAGE, least=1, most=MAX_PAGE)
    # One more than the page has: then there are more.
    found = await request.app[BATCHES].list(owner, after=asked.text("after"), count=count + 1)
    return json_response(listed(found[:count], has_more=len(found) > count))


async def get_batch(request: web.Request, owner: FileOwner) -> web.Response:
    """Describe one batch."""
    return json_response(described(await _find(request, owner)))


async def cancel_batch(request: web.Request, owner: FileOwner) -> web.Response:
    """Cancel a batch; what has ended stays."""
    settle(request)
    batch = await request.app[BATCHES].cancel(owner, request.match_info["batch"])
    return json_response(described(batch))


async def get_output(request: web.Request, owner: FileOwner) -> web.StreamResponse:
    """Send the answers so far, also while the batch runs."""
    return await _send(request, await _find(request, owner), owner, parts.OUTPUT)


async def get_errors(request: web.Request, owner: FileOwner) -> web.StreamResponse:
    """Send the errors so far, also while the batch runs."""
    return await _send(request, await _find(request, owner), owner, parts.ERROR)


async def _find(request: web.Request, owner: FileOwner) -> Batch:
    return await request.app[BATCHES].find(owner, request.match_info["batch"])


async def _send(
    request: web.Request, batch: Batch, owner: FileOwner, kind: str
) -> web.StreamResponse:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    count = batch.state.completed if kind == parts.OUTPUT else batch.state.failed
    if batch.state.status.is_final and count:
        files, about = request.app[FILES], batch.about
        file_id = about.output_file_id if kind == parts.OUTPUT else about.error_file_id
        file = await files.find(owner, file_id)
        content = await files.content(file.id)
        return await content_response(request, content, {**headers, "Content-Type": _JSON_LINES})
    size_bytes = parts.committed_bytes(batch.state.parts, kind)
    start = _start_in(request, size_bytes)
    pieces = request.app[BATCHES].output(batch, kind, start=start or 0)
    try:
        first = await anext(pieces, b"")
    except FileNotFoundError:
        # It has ended meanwhile, and its files have been published.
        ended = await _find(request, owner)
        if not ended.state.status.is_final:
            raise NoSuchBatch(batch.about.id) from None
        return await _send(request, ended, owner, kind)
    response = web.StreamResponse(headers={**headers, "Accept-Ranges": "bytes"})
    if start is not None:
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {start}-{size_bytes - 1}/{size_bytes}"
    response.content_type = _JSON_LINES
    response.content_length = size_bytes - (start or 0)
    await begin_stream(request, response)
    if first:
        await write_piece(request, response, first)
    async for piece in pieces:
        check_admission(request)
        await write_piece(request, response, piece)
    await response.write_eof()
    return response


def _start_in(request: web.Request, size_bytes: int) -> int | None:
    """Return where the client resumes, None for everything.

    A running batch only appends, so a client may resume where an earlier response ended.
    Another range, or a condition, may be ignored: then everything is sent.
    """
    found = _FROM.fullmatch(request.headers.get("Range", ""))
    if found is None or "If-Range" in request.headers:
        return None
    start = int(found[1])
    if start >= size_bytes:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size_bytes}"})
    return start
