"""GET /v1/files/{id}/content: the bytes, in whole or a range of them."""

import base64
from urllib.parse import quote

from aiohttp import web

from queue_service.service.files import FileOwner
from queue_service.store.file_index import StoredFile
from queue_service.web.keys import FILES

#: Types that a browser shows without running anything; it saves all others.
_SHOWN = frozenset(("application/json", "application/pdf", "text/plain"))
_SHOWN_KINDS = ("audio/", "image/", "video/")
#: An SVG picture may contain scripts.
_RUNNABLE = frozenset(("image/svg+xml",))


async def get_content(request: web.Request, owner: FileOwner) -> web.StreamResponse:
    """Send the content; `Range`, `If-Range`, `If-None-Match` and `If-Match` are obeyed."""
    files = request.app[FILES]
    file = await files.find(owner, request.match_info["file"])
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    return web.FileResponse(
        files.content_path(file),
        headers={
            "Content-Type": file.content_type,
            "Content-Disposition": _disposition(file),
            "Repr-Digest": f"sha-256=:{digest}:",
            "Cache-Control": "private, no-cache",
            # What a client has uploaded is never taken for a page of ours.
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )


def _disposition(file: StoredFile) -> str:
    kind = file.content_type
    is_shown = kind in _SHOWN or (kind.startswith(_SHOWN_KINDS) and kind not in _RUNNABLE)
    return f"{'inline' if is_shown else 'attachment'}; filename*=UTF-8''{quote(file.filename)}"
