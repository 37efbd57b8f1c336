"""The connected workers of a service: listed for its workers, and asked to leave by operators."""

from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from queue_service.errors import BadParameter
from queue_service.store.owners import plain_name
from queue_service.web.admin.fields import read_model
from queue_service.web.admin.scale import refuse_lease
from queue_service.web.parameters import Parameters
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import check_admission, seek_admitted

#: The largest body of a request to leave, and the most workers that one request asks.
MAX_LEAVE_BYTES = 1024 * 1024
MOST_LEAVERS = 1000


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


class Leave(BaseModel):
    """The body of a request to leave: how many workers, or which."""

    model_config = ConfigDict(extra="forbid", strict=True)

    count: Annotated[int, Field(ge=1, le=MOST_LEAVERS)] | None = None
    uids: Annotated[list[str], Field(min_length=1, max_length=MOST_LEAVERS)] | None = None


async def ask_to_leave(request: web.Request) -> web.Response:
    """Have workers leave: they finish what they hold, then exit with 0.

    The response lists them; there are fewer than `count` if no more workers can be asked.  An
    autoscaler that names itself is refused while another one has the lease: it may have stood still
    since it decided.
    """
    service = await seek_admitted(request, request.match_info["service"])
    wanted = await read_model(request, Leave, limit_bytes=MAX_LEAVE_BYTES)
    if (wanted.count is None) == (wanted.uids is None):
        came = "neither" if wanted.count is None else "both"
        raise BadParameter("the body", 'either "count" or "uids"', came)
    holder = Parameters(request).text("holder")
    if holder and (held := await service.scaling.led_by_another(holder)):
        return refuse_lease(service, held)
    check_admission(request)
    if wanted.uids is None:
        leaving = await service.leavers.leave(wanted.count or 0)
    else:
        leaving = await service.leavers.leave_named(wanted.uids)
    return json_response(
        {
            "leaving": [
                {
                    "uid": plain_name(one.uid),
                    "host": one.host,
                    "pid": one.pid,
                    "held": one.held,
                    "ends_in_s": one.ends_in_s,
                }
                for one in leaving
            ]
        }
    )
