"""Finding the job that a request is about, and waiting for its end."""

import time

from aiohttp import web

from queue_service.access import Scope
from queue_service.delivery.doorbell import wait_for_any
from queue_service.service import Service
from queue_service.store.putter import Putter
from queue_service.store.ticket import Seen
from queue_service.web.connection import leaving
from queue_service.web.jobs.problem import no_such_job
from queue_service.web.keys import SERVICES
from queue_service.web.stream import has_left
from queue_service.web.tokens import admission_of, putter_with, require_scope

#: The longest that a look waits for a ring: the job's own, or of its queues.
LOOK_AGAIN_S = 15.0


async def admitted(request: web.Request, *any_of: Scope) -> Service:
    """The service that the path names, for whoever may do one of these there."""
    service = await request.app[SERVICES].seek(request.match_info["service"])
    require_scope(request, service, *any_of)
    return service


async def admitted_putter(request: web.Request) -> tuple[Service, Putter | None]:
    """The service that the path names, and who puts there."""
    service = await request.app[SERVICES].seek(request.match_info["service"])
    return service, putter_with(service, require_scope(request, service, Scope.SUBMIT))


async def find(request: web.Request, service: Service) -> Seen:
    """Where the job is that the path names; raises a problem when there is none."""
    return await find_by_id(service, request.match_info["job"])


async def find_by_id(service: Service, job_id: str) -> Seen:
    """Where a job is; raises a problem when there is none."""
    seen = await service.tickets.look(job_id)
    if not seen.known:
        raise no_such_job(job_id)
    return seen


async def wait_for_end(request: web.Request, service: Service, seen: Seen, wait_s: float) -> Seen:
    """Wait until a job has ended, at most so long; give where it is then."""
    services, job_id = request.app[SERVICES], seen.request_id
    deadline = time.monotonic() + wait_s
    left, admission = leaving(request), admission_of(request)
    with service.tickets.followers.follow(job_id) as bell:
        while not seen.has_ended and seen.known and not services.draining:
            bells = [bell, left, admission.bell]
            if not seen.ticket:
                bells.append(service.sink.bell)
            rings = [one.rings for one in bells]
            seen = await service.tickets.look(job_id)
            left_s = deadline - time.monotonic()
            if seen.has_ended or not seen.known or left_s <= 0:
                break
            await wait_for_any(bells, rings, timeout_s=min(left_s, LOOK_AGAIN_S))
            if has_left(request):
                raise ConnectionResetError("the client has left")
            admission.check()
    return seen
