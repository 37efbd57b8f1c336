"""Contents that workers fetch and upload: the files of this service's entries, and large results.

A worker's token opens only these: never an upload of a client, nor a file of another service.
"""

from aiohttp import web

from queue_service.errors import BadParameter
from queue_service.web.body import read_pieces
from queue_service.web.file_response import content_response, file_headers
from queue_service.web.keys import SETTINGS
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response


async def get_content(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Send a content that an entry of the service names; `Range` and `If-Range` are obeyed."""
    files = caller.service.files
    file = await files.find(request.match_info["file"])
    headers = file_headers(
        content_type=file.content_type, filename=file.filename, sha256=file.sha256
    )
    content = await files.content(file)
    return await content_response(request, content, headers, may_redirect=True)


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
