"""Answers once: all services of a token, one service, its recent past."""

from typing import Any

from aiohttp import web

from queue_service.errors import BadParameter
from queue_service.service.access import Scope
from queue_service.service.service import Service
from queue_service.store.activity import DAY
from queue_service.web.keys import SERVICES
from queue_service.web.overview.described import HOUR, describe_minutes, describe_whole
from queue_service.web.overview.pulse import Pulse
from queue_service.web.parameters import Parameters
from queue_service.web.routing import Caller, CallerSomewhere
from queue_service.web.strict_json import json_response

#: Where handlers find what is read for all followers.
PULSE = web.AppKey("pulse", Pulse)
#: The minutes of one value in the charts of an hour and of a day.
_STEPS = {"hour": (HOUR, 1), "day": (DAY, 15)}
_ALL_SCOPES = [str(scope) for scope in Scope]


async def show_all(request: web.Request, somewhere: CallerSomewhere) -> web.Response:
    """Show the services of the token, and what it may do with each."""
    pulse = Pulse(lambda: _visible(request, somewhere))
    await pulse.read()
    return json_response(overview(request, somewhere, pulse))


async def show_one(_: web.Request, caller: Caller) -> web.Response:
    """Show one service; its workers only to its own token and to operators."""
    token = caller.token
    with_workers = token is None or Scope.WORK in token.scopes or Scope.ADMIN in token.scopes
    described = await describe_whole(caller.service, with_workers=with_workers)
    may = _ALL_SCOPES if token is None else sorted(map(str, token.scopes))
    return json_response({**described, "may": may})


async def show_activity(request: web.Request, caller: Caller) -> web.Response:
    """Show the runs that ended in the last hour or day, as series."""
    text = Parameters(request).text("range", "hour")
    if text not in _STEPS:
        raise BadParameter("range", "hour or day", repr(text[:64]))
    minutes, step = _STEPS[text]
    pace = await caller.service.activity.pace(minutes)
    series = describe_minutes(pace.minutes, step=step)
    return json_response({"range": text, "step_s": step * 60, **series})


def overview(request: web.Request, somewhere: CallerSomewhere, pulse: Pulse) -> dict[str, Any]:
    """Return what the caller may see of what was read."""
    shown = []
    for service in _visible(request, somewhere):
        if (described := pulse.described.get(service.name)) is not None:
            shown.append({**described, "may": somewhere.scopes_on(service)})
    return {
        "operator": somewhere.is_operator,
        "current": pulse.is_current,
        "services": shown,
    }


def _visible(request: web.Request, somewhere: CallerSomewhere) -> list[Service]:
    return [one for one in request.app[SERVICES] if somewhere.may_use(one)]
