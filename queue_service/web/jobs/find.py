"""Finding the job that a request is about, and waiting for its end."""

import re
import time

from aiohttp import web

from queue_service.errors import AmbiguousId, BadParameter, Forbidden
from queue_service.service.access import Scope
from queue_service.service.follow import Follow
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


def name_in(request: web.Request, viewer: Viewer) -> str:
    """Return the name under which the job of the path is stored, if it is this viewer's own."""
    return viewer.stored(_plain(request.match_info["job"]))


async def find(
    request: web.Request, service: Service, viewer: Viewer, *, with_result: bool = False
) -> Seen:
    """Return where the job is that the path names; raises a problem when this viewer has none.

    with_result: read its result too, if it is there and small.
    """
    job_id, tickets = request.match_info["job"], service.tickets
    look = tickets.look_for_result if with_result else tickets.look
    seen = await look(name_in(request, viewer))
    if seen.known or not viewer.sees_all:
        return _known(seen)
    # The service's own job comes first.  Another one is found by its plain id if only one owner has
    # such a job.
    owners = await service.tickets.owners(job_id)
    if len(owners) > 1:
        raise AmbiguousId(job_id)
    return _known(await look(owned_name(owners[0], job_id)) if owners else seen)


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


class EndWait:
    """Waits for the end of a job.

    Make it before the job is put, or looked at for the first time: then no ring is missed, and
    the wait needs no further look to begin with.
    """

    def __init__(self, request: web.Request, service: Service, name: str, wait_s: float) -> None:
        self._request = request
        self._services = request.app[SERVICES]
        self._service = service
        self._name = name
        self.wait_s = wait_s
        self._until = time.monotonic() + wait_s
        self._following = self._follow()

    async def after(self, seen: Seen | None, name: str) -> Seen:
        """Wait for the job of this name; return what is known of it when it ends or the time does.

        seen: where it was after this object was made, None if it was put then.
        """
        if self._services.draining and seen is None:
            return await self._service.tickets.look(name)
        if seen is not None and (seen.is_over or self._services.draining):
            return seen
        if name == self._name:
            self._following.begin_with(seen)
        else:
            # Another job, such as the one that has the idempotency key.
            self._name, self._following = name, self._follow()
        latest = seen
        async for latest in self._following:
            if self._services.draining or time.monotonic() >= self._until:
                return latest
        request = self._request
        is_over = latest is not None and latest.is_over
        if has_left(request) and not is_half_closed(request) and not is_over:
            raise ConnectionResetError("the client has disconnected")
        # A client that sends nothing more may still read, so it gets what is known now.
        return latest if latest is not None else await self._service.tickets.look(self._name)

    def _follow(self) -> Follow:
        return follow(
            self._request,
            self._service,
            self._name,
            longest_wait_s=lambda: self._until - time.monotonic(),
            ends_only=True,
        )
