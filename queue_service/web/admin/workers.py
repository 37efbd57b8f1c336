"""The connected workers of a service, for its workers and for local mode."""

from aiohttp import web

from queue_service.store.owners import plain_name
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response


async def list_workers(_: web.Request, caller: Caller) -> web.Response:
    """List the connected workers, without what only operators may know.

    A worker's token is enough: a worker asks whether others can take over its jobs.
    """
    service = caller.service
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
