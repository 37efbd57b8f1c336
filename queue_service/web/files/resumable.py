"""Resumable uploads, with the protocol tus 1.0, which has clients in many languages.

    POST   /v1/files/uploads          begins one: Upload-Length, Upload-Metadata
    HEAD   /v1/files/uploads/{file}   says how much has arrived: Upload-Offset
    PATCH  /v1/files/uploads/{file}   appends: Upload-Offset
    DELETE /v1/files/uploads/{file}   gives it up

Beside the protocol, `?direct=true` asks for an address in the storage.  The client sends the whole
content there with one PUT, and then asks for it to be checked and made a file:

    POST   /v1/files/uploads/{file}/complete

The id is that of the file, which exists when all has arrived.
"""

import asyncio
import base64
import binascii
import re
from typing import Any

from aiohttp import web

from queue_service.errors import BadParameter
from queue_service.service.file_terms import FileOwner
from queue_service.service.resumable import Resumable
from queue_service.web.body import read_pieces
from queue_service.web.files.about import read_about
from queue_service.web.keys import SETTINGS, UPLOADS
from queue_service.web.parameters import Parameters
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import settle

VERSION = "1.0.0"
#: How long a request waits for a content to be checked, in seconds; then the client asks again.
COMPLETE_S = 10.0
PATCH_TYPE = "application/offset+octet-stream"
#: Metadata besides the fields of a form: the names that tus clients use.
_NAMES = {"filename": "filename", "name": "filename", "filetype": "type", "type": "type"}
_NUMBER = re.compile("[0-9]{1,18}")
_SHA256 = re.compile("[0-9a-f]{64}")
_MOST_METADATA = 8192
#: Other metadata is ignored: clients add what they know, such as the path on their side.
_KNOWN = frozenset(
    ("filename", "type", "purpose", "sha256", "expires_after[seconds]", "expires_after[anchor]")
)


async def post_upload(request: web.Request, owner: FileOwner) -> web.Response:
    """Begin an upload, or report how far the one to resume is."""
    is_direct = Parameters(request).flag("direct") and request.app[SETTINGS].files_addresses
    size = _number(request, "Upload-Length")
    fields = _metadata(request.headers.get("Upload-Metadata", ""))
    sha256 = fields.pop("sha256", "").lower()
    if sha256 and not _SHA256.fullmatch(sha256):
        raise BadParameter("Upload-Metadata: sha256", "64 hexadecimal digits", repr(sha256[:64]))
    kind = fields.pop("type", "")
    about = read_about(fields, filename="", content_type=kind)
    upload = await request.app[UPLOADS].create(owner, about, size_bytes=size, sha256=sha256)
    headers = {**_headers(upload), "Location": f"{request.path}/{upload.id}"}
    shown = _shown(upload)
    if is_direct:
        address = await request.app[UPLOADS].address(upload)
        if address is not None:
            # Others must not find an address that was made for this client.
            headers["Cache-Control"] = "no-store"
            shown["direct"] = address.shown()
    return json_response(shown, status=201, headers=headers)


async def get_upload(request: web.Request, owner: FileOwner) -> web.Response:
    """Say how much has arrived."""
    upload = await request.app[UPLOADS].find(owner, request.match_info["file"])
    return json_response(_shown(upload), headers={**_headers(upload), "Cache-Control": "no-store"})


async def patch_upload(request: web.Request, owner: FileOwner) -> web.Response:
    """Append what the body has."""
    if request.content_type != PATCH_TYPE:
        raise BadParameter("Content-Type", PATCH_TYPE, repr(request.content_type[:64]))
    if encoding := request.headers.get("Content-Encoding", ""):
        raise BadParameter("Content-Encoding", "none for a file", repr(encoding[:64]))
    timeout_s = request.app[SETTINGS].body_timeout_s
    upload = await request.app[UPLOADS].append(
        owner,
        request.match_info["file"],
        _number(request, "Upload-Offset"),
        read_pieces(request, timeout_s=timeout_s, is_each=True),
    )
    return web.Response(status=204, headers=_headers(upload))


async def complete_upload(request: web.Request, owner: FileOwner) -> web.Response:
    """Make what the client has sent to the storage a file; 202 if that takes longer."""
    settle(request)
    uploads, file_id = request.app[UPLOADS], request.match_info["file"]
    try:
        async with asyncio.timeout(COMPLETE_S):
            upload = await uploads.complete(owner, file_id)
    except TimeoutError:
        # It goes on; the next request waits for the same one.
        return json_response({"id": file_id, "status": "completing"}, status=202)
    return json_response(_shown(upload), headers=_headers(upload))


async def delete_upload(request: web.Request, owner: FileOwner) -> web.Response:
    """Cancel an upload; what has arrived is removed."""
    settle(request)
    await request.app[UPLOADS].abandon(owner, request.match_info["file"])
    return web.Response(status=204, headers={"Tus-Resumable": VERSION})


def _shown(upload: Resumable) -> dict[str, Any]:
    return {"id": upload.id, "offset": upload.offset, "bytes": upload.size_bytes}


def _headers(upload: Resumable) -> dict[str, str]:
    return {
        "Tus-Resumable": VERSION,
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.size_bytes),
    }


def _number(request: web.Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise BadParameter(name, "a number of bytes", repr(text[:64]))
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    """Return the pairs of `Upload-Metadata`: a name, a space, and the value in base64."""
    if len(text) > _MOST_METADATA:
        raise BadParameter("Upload-Metadata", f"at most {_MOST_METADATA} characters", "more")
    fields = {}
    for pair in filter(None, (one.strip() for one in text.split(","))):
        name, _, value = pair.partition(" ")
        try:
            decoded = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            raise BadParameter(
                "Upload-Metadata", "names with values in base64", repr(pair[:64])
            ) from None
        fields[_NAMES.get(name, name)] = decoded
    return {name: value for name, value in fields.items() if name in _KNOWN}
