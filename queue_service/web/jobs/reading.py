"""Notes which results their owners have read: these are dropped first when the sink needs room.

A result counts as read when its owner has received all of it: by `GET .../result`, by a put that
waited for it, or, of a job that has failed, by `GET` of the job with its error.  So does a `GET`
that is answered with 304: its `If-None-Match` says that the client has the result.  These do not
count:

* a `HEAD`, a part of a file (`Range`), or a response that the client did not take to its end;
* the list of jobs and the events, which have no results;
* a read by anybody else, such as an operator who sees the jobs of all owners.
"""

import re

from aiohttp import web

from queue_service.store.ticket import Seen
from queue_service.web.connection import write_whole
from queue_service.web.jobs.problem import ERRORS, Problem
from queue_service.web.routing import Caller
from queue_service.web.tokens import check_admission, is_admin

#: The range of a part that is everything.
_ALL = re.compile(r"bytes 0-(\d+)/(\d+)")


async def read(
    request: web.Request, caller: Caller, seen: Seen, response: web.StreamResponse
) -> web.StreamResponse:
    """Send a response with a result, and note that its owner has read it."""
    if not _is_first_read(request, caller, seen) or response.status not in (200, 304, 409):
        return response
    check_admission(request)
    await write_whole(request, response)
    if _is_whole(request, response):
        caller.service.tickets.sink.note_read(seen)
    return response


async def read_error(
    request: web.Request, caller: Caller, seen: Seen, problem: Problem
) -> web.StreamResponse:
    """The same for a job without a result, which has an error in its place; raises the problem."""
    if problem.status != 409 or not _is_first_read(request, caller, seen):
        raise problem
    return await read(request, caller, seen, ERRORS.render(request, 409, problem.code, problem))


def _is_first_read(request: web.Request, caller: Caller, seen: Seen) -> bool:
    return (
        request.method != "HEAD"
        # An operator who looks at a job is not the client that waits for it.
        and not is_admin(request)
        and seen.result_index is not None
        and caller.viewer.owner == seen.owner
        and caller.service.tickets.sink.is_unread(seen)
    )


def _is_whole(request: web.Request, response: web.StreamResponse) -> bool:
    if response.status == 304:
        return "*" not in request.headers.get("If-None-Match", "*")
    if response.status != 206:
        return response.status in (200, 409)
    part = _ALL.fullmatch(response.headers.get("Content-Range", ""))
    return part is not None and int(part[1]) + 1 == int(part[2])
