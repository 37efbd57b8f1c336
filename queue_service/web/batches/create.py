"""POST /v1/batches: from a file, or with the requests in the body."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from queue_service.errors import BadParameter
from queue_service.service.batches.batches import Wanted
from queue_service.service.batches.lines import LineRefused
from queue_service.service.files import About, FileOwner
from queue_service.store.file_index import StoredFile
from queue_service.web.batches.described import described
from queue_service.web.batches.line_format import OpenAILines
from queue_service.web.batches.wanted import MAX_BODY_BYTES, WantedBatch, read_wanted
from queue_service.web.body import read_body
from queue_service.web.keys import BATCHES, FILES, SETTINGS
from queue_service.web.routing import Caller, OwnerSomewhere
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import settle

#: The name, the purpose and the type of the file that requests in a body become.
_INLINE = About("requests.jsonl", "batch", "application/jsonl")


async def post_batch(request: web.Request, who: OwnerSomewhere) -> web.Response:
    """Make a batch and describe it; its lines are validated afterwards."""
    timeout_s = request.app[SETTINGS].body_timeout_s
    body = await read_body(request, limit_bytes=MAX_BODY_BYTES, timeout_s=timeout_s, is_fixed=True)
    wanted = read_wanted(body)
    del body
    batches, files, owner = request.app[BATCHES], request.app[FILES], who.owner
    if wanted.requests:
        caller = await _caller(who, wanted, _line(wanted.requests[0]))
        settle(request)
        file = await _keep(request, owner, wanted.requests)
    else:
        file = await files.find(owner, wanted.input_file_id)
        caller = await _caller(who, wanted, await batches.first_line(file))
        settle(request)
    batch = await batches.create(
        Wanted(
            owner=owner,
            service=caller.service if caller else None,
            putter=caller.putter if caller else None,
            endpoint=wanted.endpoint,
            completion_window=wanted.completion_window,
            window_s=wanted.window_s,
            metadata=wanted.metadata,
            kept_s=wanted.kept_s,
        ),
        file,
    )
    return json_response(described(batch))


async def _caller(who: OwnerSomewhere, wanted: WantedBatch, line: bytes) -> Caller | None:
    """Admit the request to the service of its first line; None if that is no request.

    A file then becomes a batch that fails, with an error for each such line, as at OpenAI.
    """
    try:
        checked = OpenAILines().check(wanted.endpoint, line)
    except LineRefused as error:
        if wanted.requests:
            raise BadParameter("requests", "requests", str(error)) from None
        return None
    return await who.somewhere.to(checked.service)


async def _keep(
    request: web.Request, owner: FileOwner, requests: Sequence[Mapping[str, Any]]
) -> StoredFile:
    files = request.app[FILES]
    async with await files.upload(owner, announced_bytes=request.content_length) as upload:
        for one in requests:
            await upload.write(_line(one))
        return await upload.finish(_INLINE)


def _line(request: Mapping[str, Any]) -> bytes:
    return json.dumps(request).encode() + b"\n"
