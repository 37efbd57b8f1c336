"""POST /v1/files: a form, as OpenAI's clients send it, or a body that is the file itself."""

from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from queue_service.errors import BadParameter, SlowBody
from queue_service.service.files import FileOwner, Files
from queue_service.store.file_index import StoredFile
from queue_service.web.body import read_pieces
from queue_service.web.files.about import FIELDS, read_about
from queue_service.web.files.described import described
from queue_service.web.keys import FILES, SETTINGS
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import time_limit

#: The longest field of a form beside the file, in bytes, and how many there may be.
MAX_FIELD_BYTES, MAX_FIELDS = 1024, 16
Read = TypeVar("Read")

#: How much of a file is read at once, in bytes.
PIECE_BYTES = 256 * 1024


async def post_file(request: web.Request, owner: FileOwner) -> web.Response:
    """Store a file and describe it."""
    files = request.app[FILES]
    if encoding := request.headers.get("Content-Encoding", ""):
        # It would be open whether the file is the body as it comes or what is packed in it.
        raise BadParameter("Content-Encoding", "none for a file", repr(encoding[:64]))
    is_form = request.content_type == "multipart/form-data"
    receive = _receive_form if is_form else _receive_body
    file = await receive(request, files, owner)
    return json_response(described(file), status=201 if not is_form else 200)


async def _receive_body(request: web.Request, files: Files, owner: FileOwner) -> StoredFile:
    fields = dict(request.query)
    about = read_about(fields, filename="", content_type=request.headers.get("Content-Type", ""))
    timeout_s = request.app[SETTINGS].body_timeout_s
    async with await files.upload(owner, announced_bytes=request.content_length) as upload:
        async for piece in read_pieces(request, timeout_s=timeout_s, is_each=True):
            await upload.write(piece)
        return await upload.finish(about)


async def _receive_form(request: web.Request, files: Files, owner: FileOwner) -> StoredFile:
    fields: dict[str, str] = {}
    filename = content_type = ""
    # The form is a little larger than the file in it, so its length is only a hint.
    async with await files.upload(owner, announced_bytes=None) as upload:
        has_file = False
        async for part in _parts(request):
            name = part.name or ""
            if name == "file":
                if has_file:
                    raise BadParameter("file", "one file", "several; upload one at a time")
                has_file, filename = True, part.filename or ""
                content_type = part.headers.get("Content-Type", "")
                async for piece in _pieces(request, part):
                    await upload.write(piece)
                continue
            if name not in FIELDS or len(fields) >= MAX_FIELDS:
                expected = f"one of file, {', '.join(sorted(FIELDS))}"
                raise BadParameter("the form", expected, f"the field {name[:64]!r}")
            fields[name] = await _text(request, part)
        if not has_file:
            raise BadParameter("file", "a field with the file, as `curl -F file=@NAME`", "none")
        about = read_about(fields, filename=filename, content_type=content_type)
        return await upload.finish(about)


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    try:
        reader = await request.multipart()
        while (part := await _within(request, reader.next())) is not None:
            if isinstance(part, MultipartReader):
                raise BadParameter("the form", "fields", "a form inside the form")
            yield part
    except (ValueError, AssertionError, HttpProcessingError, web.RequestPayloadError) as error:
        came = " ".join(str(error).split())[:128] or "another"
        raise BadParameter("the body", "a form (multipart/form-data)", came) from None


async def _pieces(request: web.Request, part: BodyPartReader) -> AsyncIterator[bytes]:
    while piece := await _within(request, part.read_chunk(PIECE_BYTES)):
        yield piece


async def _text(request: web.Request, part: BodyPartReader) -> str:
    text = bytearray()
    async for piece in _pieces(request, part):
        text += piece
        if len(text) > MAX_FIELD_BYTES:
            expected = f"at most {MAX_FIELD_BYTES} bytes"
            raise BadParameter(str(part.name)[:64], expected, "more")
    return text.decode("utf-8", "replace")


async def _within(request: web.Request, read: Awaitable[Read]) -> Read:
    """Wait for the next piece; raises SlowBody when the client sends nothing for too long."""
    timeout_s = request.app[SETTINGS].body_timeout_s
    try:
        async with time_limit(request, timeout_s):
            return await read
    except TimeoutError:
        raise SlowBody(timeout_s) from None
