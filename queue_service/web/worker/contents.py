"""Contents that workers fetch and upload: the files of this service's entries, and large results.

A worker's token opens only these: never an upload of a client, nor a file of another service.
"""

import asyncio
import re
from contextlib import suppress

from aiohttp import web

from queue_service.errors import BadParameter, FrameTooBig
from queue_service.service.file_errors import NoSuchFile, NothingSent
from queue_service.service.payload_files import about_payload
from queue_service.store.payload import PAYLOAD_ID
from queue_service.web.body import read_pieces
from queue_service.web.file_response import content_response, file_headers, media_type
from queue_service.web.keys import SETTINGS, UPLOADS
from queue_service.web.parameters import MAX_INDEX, Parameters
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response

#: How long a request waits for a content to be checked, in seconds; then the worker asks again.
COMPLETE_S = 10.0
_SHA256 = re.compile("[0-9a-f]{64}")


async def get_content(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Send a content that an entry of the service names; `Range` and `If-Range` are obeyed."""
    files = caller.service.files
    file = await files.find(request.match_info["file"])
    headers = file_headers(
        content_type=file.content_type, filename=file.filename, sha256=file.sha256
    )
    content = await files.content(file)
    return await content_response(request, content, headers, may_redirect=True)


async def post_upload(request: web.Request, caller: Caller) -> web.Response:
    """Give a worker an address in the storage for a large result, if there is one.

    It sends the result there, and asks for it to be completed: `complete_upload`.
    """
    files, parameters = caller.service.files, Parameters(request)
    size = parameters.number("bytes", default=None, least=1, most=MAX_INDEX)
    sha256 = parameters.text("sha256")
    if not _SHA256.fullmatch(sha256):
        raise BadParameter("sha256", "64 hexadecimal digits", repr(sha256[:64]))
    if size > (limit := caller.service.sink.limits.payload_bytes):
        raise FrameTooBig(size, limit)
    begun = None
    if files.are_kept and request.app[SETTINGS].files_addresses:
        begun = await request.app[UPLOADS].create_direct(
            files.owner,
            about_payload(media_type(parameters.text("content_type"))),
            size_bytes=size,
            sha256=sha256,
            prefix=PAYLOAD_ID,
        )
    shown: dict[str, object] = {"id": "", "offset": 0}
    if begun is not None:
        shown = {"id": begun[0].id, "offset": 0, "direct": begun[1].shown()}
    # Others must not find an address that was made for this worker.
    return json_response(shown, status=201, headers={"Cache-Control": "no-store"})


async def complete_upload(request: web.Request, caller: Caller) -> web.Response:
    """Check what a worker has sent to the storage; 202 if that takes longer."""
    uploads, owner = request.app[UPLOADS], caller.service.files.owner
    file_id = request.match_info["file"]
    try:
        async with asyncio.timeout(COMPLETE_S):
            await uploads.complete(owner, file_id)
    except TimeoutError:
        # It goes on; the next request waits for the same one.
        return json_response({"id": file_id}, status=202)
    except NothingSent:
        # The worker then sends the result to this process, as another file.
        with suppress(NoSuchFile):
            await uploads.abandon(owner, file_id)
        raise
    return json_response({"id": file_id})


async def post_content(request: web.Request, caller: Caller) -> web.Response:
    """Store a result, and answer with the id that completes its delivery.

    Nothing names it until then; if that does not happen, it is removed when it expires.
    """
    if encoding := request.headers.get("Content-Encoding", ""):
        raise BadParameter("Content-Encoding", "none for a file", repr(encoding[:64]))
    timeout_s = request.app[SETTINGS].body_timeout_s
    file = await caller.service.files.store(
        read_pieces(request, timeout_s=timeout_s, is_each=True),
        limit_bytes=caller.service.sink.limits.payload_bytes,
        content_type=request.content_type,
        announced_bytes=request.content_length,
    )
    found = {"id": file.id, "bytes": file.size_bytes, "sha256": file.sha256}
    return json_response(found, status=201)
