"""What a service declares: its schema, and the OpenAPI document of its jobs."""

from aiohttp import web

from client_sdk.wire.codes import Code
from queue_service.web.jobs.file_schema import with_references
from queue_service.web.jobs.problem import Problem
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response


async def get_schema(request: web.Request, caller: Caller) -> web.Response:
    """Answer with the schema of the newest worker, and which versions are accepted."""
    interfaces = caller.service.interfaces
    newest = await interfaces.newest()
    if newest is None:
        raise Problem(
            404,
            Code.NOT_FOUND,
            f"no worker of {caller.service.name!r} has declared its inputs: annotate the handler, "
            "see docs/typed-handlers.md",
        )
    etag = f'"{newest.digest}"'
    if newest.digest in {tag.value for tag in request.if_none_match or ()}:
        return web.Response(status=304, headers={"ETag": etag})
    accepted = [one.digest for one in await interfaces.accepted()]
    body = {"service": caller.service.name, "version": newest.digest, "accepted": accepted}
    declared = {**newest.document, "input": with_references(newest.document.get("input"))}
    return json_response({**body, **declared}, headers={"ETag": etag})
