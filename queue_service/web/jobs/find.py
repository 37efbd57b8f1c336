"""Finding the job that a request is about, and waiting for its end."""

import re
import time

from aiohttp import web

from queue_service.delivery.doorbell import wait_for_any
from queue_service.errors import AmbiguousId, BadParameter, Forbidden
from queue_service.service.access import Scope
from queue_service.service.service import Service
from queue_service.store.owners import OWNED, Viewer, owned_name
from queue_service.store.ticket import Seen
from queue_service.web.connection import has_left, is_half_closed, leaving
from queue_service.web.jobs.problem import no_such_job
from queue_service.web.keys import SERVICES
from queue_service.web.routing import Caller
from queue_service.web.tokens import admission_of

#: The longest that a look waits for a ring: the job's own, or of its queues.
LOOK_AGAIN_S = 15.0
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def viewer_for(request: web.Request, caller: Caller) -> Viewer:
    """Return whose jobs the request is about: the caller's, or with `?owner=` another owner's.

    Raises Forbidden when the caller may not see those, and BadParameter.
    """
    viewer, owner = caller.viewer, request.query.get("owner")
    if owner is None or owner == viewer.owner:
        return viewer
    if not viewer.sees_all:
        raise Forbidden(caller.service.name, (Scope.ALL,))
    if not _OWNER.fullmatch(owner):
        raise BadParameter("owner", "the id or the owner of a token", repr(owner[:64]))
    return Viewer(owner)


async def find(request: web.Request, service: Service, viewer: Viewer) -> Seen:
    """Where the job is that the path names; raises a problem when this viewer has none."""
    job_id = request.match_info["job"]
    seen = await service.tickets.look(viewer.stored(_plain(job_id)))
    if seen.known or not viewer.sees_all:
        return _known(seen)
    # The service's own goes first; another one is found by its plain id when it is alone.
    owners = await service.tickets.owners(job_id)
    if len(owners) > 1:
        raise AmbiguousId(job_id)
    return _known(await service.tickets.look(owned_name(owners[0], job_id)) if owners else seen)


async def find_by_name(service: Service, name: str) -> Seen:
    """Where a job is whose name as it is stored is known; raises a problem when there is none."""
    return _known(await service.tickets.look(name))


def _plain(job_id: str) -> str:
    """The id, unless it is written as a name is stored: no client gives such a one."""
    if OWNED in job_id:
        raise no_such_job(job_id)
    return job_id


def _known(seen: Seen) -> Seen:
    if not seen.known:
        raise no_such_job(seen.id)
    return seen


async def wait_for_end(request: web.Request, service: Service, seen: Seen, wait_s: float) -> Seen:
    """Wait until a job has ended, at most so long; give where it is then."""
    services, name = request.app[SERVICES], seen.request_id
    deadline = time.monotonic() + wait_s
    left, admission = leaving(request), admission_of(request)
    with service.tickets.followers.follow(name) as bell:
        while not seen.has_ended and seen.known and not services.draining:
            bells = [bell, left, admission.bell]
            if not seen.ticket:
                bells.append(service.sink.bell)
            rings = [one.rings for one in bells]
            seen = await service.tickets.look(name)
            left_s = deadline - time.monotonic()
            if seen.has_ended or not seen.known or left_s <= 0:
                break
            await wait_for_any(bells, rings, timeout_s=min(left_s, LOOK_AGAIN_S))
            if is_half_closed(request):
                # It may have left, and may still read: what is known now is the answer.
                break
            if has_left(request):
                raise ConnectionResetError("the client has left")
            admission.check()
    return seen
