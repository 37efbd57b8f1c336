"""Finding the job that a request is about, and waiting for its end."""

import re
import time

from aiohttp import web

from queue_service.errors import AmbiguousId, BadParameter, Forbidden
from queue_service.service.access import Scope
from queue_service.service.service import Service
from queue_service.store.owners import OWNED, Viewer, owned_name
from queue_service.store.ticket import Seen
from queue_service.web.connection import has_left, is_half_closed
from queue_service.web.follow import follow
from queue_service.web.jobs.problem import no_such_job
from queue_service.web.keys import SERVICES
from queue_service.web.routing import Caller

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
    """Return where the job is that the path names; raises a problem when this viewer has none."""
    job_id = request.match_info["job"]
    seen = await service.tickets.look(viewer.stored(_plain(job_id)))
    if seen.known or not viewer.sees_all:
        return _known(seen)
    # The service's own job comes first.  Another one is found by its plain id if only one owner has
    # such a job.
    owners = await service.tickets.owners(job_id)
    if len(owners) > 1:
        raise AmbiguousId(job_id)
    return _known(await service.tickets.look(owned_name(owners[0], job_id)) if owners else seen)


async def find_by_name(service: Service, name: str) -> Seen:
    """Return where the job is that is stored under a name; raises a problem when there is none."""
    return _known(await service.tickets.look(name))


def _plain(job_id: str) -> str:
    """Return the id; raises a problem for one that looks like a stored name."""
    if OWNED in job_id:
        raise no_such_job(job_id)
    return job_id


def _known(seen: Seen) -> Seen:
    if not seen.known:
        raise no_such_job(seen.id)
    return seen


async def wait_for_end(request: web.Request, service: Service, seen: Seen, wait_s: float) -> Seen:
    """Wait at most this long until a job has ended; return what is known of it then."""
    services, until = request.app[SERVICES], time.monotonic() + wait_s
    latest = seen
    if latest.is_over or services.draining:
        return latest
    async for latest in follow(
        request, service, seen.request_id, longest_wait_s=lambda: until - time.monotonic()
    ):
        if services.draining or time.monotonic() >= until:
            return latest
    if has_left(request) and not is_half_closed(request) and not latest.is_over:
        raise ConnectionResetError("the client has disconnected")
    # A client that sends nothing more may still read, so it gets what is known now.
    return latest
