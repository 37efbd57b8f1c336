"""Who works for a service, as JSON: what its workers and local mode read."""

from aiohttp import web

from queue_service.service.access import Scope
from queue_service.store.owners import plain_name
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import require_scope, seek


async def list_workers(request: web.Request) -> web.Response:
    """List the connected workers of a service, without what only operators may know.

    A worker's own token is enough: a worker asks whether others can take over its jobs.
    """
    service = await seek(request, request.match_info["service"])
    require_scope(request, service, Scope.WORK)
    state = await service.input.attributes()
    workers = [
        {
            "uid": plain_name(one.uid),
            "window": one.window,
            "held": one.held,
            "connected": one.connected,
        }
        for one in state.subscribers
        if one.gid == service.workers_gid
    ]
    return json_response({"workers": workers})
