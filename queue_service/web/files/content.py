"""GET /v1/files/{id}/content: the bytes, in whole or a range of them."""

from aiohttp import web

from queue_service.service.files import FileOwner
from queue_service.web.file_response import content_response, file_headers
from queue_service.web.keys import FILES


async def get_content(request: web.Request, owner: FileOwner) -> web.StreamResponse:
    """Send the content, or its address in the storage; `Range` and conditions are obeyed."""
    files = request.app[FILES]
    file = await files.find(owner, request.match_info["file"])
    headers = file_headers(
        content_type=file.content_type, filename=file.filename, sha256=file.sha256
    )
    content = await files.content(file.id)
    return await content_response(request, content, headers, may_redirect=True)
