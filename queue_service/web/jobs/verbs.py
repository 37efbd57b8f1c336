"""Get, list, cancel and delete jobs."""

import re
from collections.abc import Iterator

from aiohttp import web

from client_sdk.wire.codes import Code
from queue_service.errors import BadParameter
from queue_service.service.access import Scope
from queue_service.service.service import Service
from queue_service.store.batching import all_of
from queue_service.store.outcomes import Purged
from queue_service.store.owners import Viewer
from queue_service.store.ticket import Canceled, Part, State
from queue_service.store.tickets import LIST_BEGIN
from queue_service.web.jobs.find import EndWait, find, find_by_name, viewer_for
from queue_service.web.jobs.problem import Problem, no_such_job
from queue_service.web.jobs.reading import read
from queue_service.web.jobs.result import show_whole
from queue_service.web.jobs.show import show
from queue_service.web.jobs.wanted_wait import wanted_wait
from queue_service.web.parameters import Parameters
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import require_scope, settle

#: The most jobs of one page, and the default.
MAX_PAGE, PAGE = 1000, 100
#: How many jobs one page may look at to find those with the wanted state.
SCAN_LIMIT = 5000

#: Where jobs with each state are, in the order in which they are listed.
_PARTS = (Part.INPUT, Part.DELAYED, Part.SINK, Part.ENDED)
_PARTS_OF = {
    State.QUEUED: (Part.INPUT, Part.DELAYED),
    State.RUNNING: (Part.INPUT,),
    State.SUCCEEDED: (Part.SINK, Part.ENDED),
    State.FAILED: (Part.SINK, Part.ENDED),
    State.CANCELED: (Part.ENDED,),
    State.EXPIRED: (Part.SINK, Part.ENDED),
}


async def get_job(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Answer with a job."""
    service, viewer = caller.service, viewer_for(request, caller)
    seen = await find(request, service, viewer)
    response = json_response(await show_whole(request, service, seen))
    if seen.has_ended and seen.state is not State.SUCCEEDED:
        # With the error, which such a job has for a result.
        return await read(request, caller, seen, response)
    return response


async def cancel_job(request: web.Request, caller: Caller) -> web.Response:
    """Cancel: 200 if the job is canceled, 202 while its worker stops it, 409 if it had ended."""
    service, viewer = caller.service, viewer_for(request, caller)
    found = await find(request, service, viewer)
    wait_s = wanted_wait(request)
    waiting = EndWait(request, service, found.request_id, wait_s) if wait_s else None
    settle(request)
    outcome = await service.tickets.cancel(found.request_id)
    if outcome is Canceled.UNKNOWN:
        raise no_such_job(found.id)
    seen = await find_by_name(service, found.request_id)
    headers = {}
    if outcome is Canceled.STOPPING and waiting:
        headers["Preference-Applied"] = f"wait={wait_s:g}"
        seen = await waiting.after(seen, seen.request_id)
    if seen.has_ended and seen.state is not State.CANCELED:
        sentence = f"expected a job that is queued or running, got one that has {seen.state}"
        raise Problem(409, Code.ENDED, sentence, job_id=seen.id, state=str(seen.state))
    job = await show(service, seen)
    if not seen.has_ended:
        # Also for a job that was put without a ticket, where the request is not stored.
        job["canceling"] = True
    return json_response(job, status=200 if seen.has_ended else 202, headers=headers)


async def delete_job(request: web.Request, caller: Caller) -> web.Response:
    """Remove a job's result, events and ticket; a waiting one is canceled first.

    A waiting job needs the scope `cancel`, a result the scope `read`.
    """
    service, viewer = caller.service, viewer_for(request, caller)
    seen = await find(request, service, viewer)
    if seen.state is State.QUEUED:
        require_scope(request, service, Scope.CANCEL)
        settle(request)
        if await service.tickets.cancel(seen.request_id) is not Canceled.CANCELED:
            # It has started or ended meanwhile.
            seen = await find_by_name(service, seen.request_id)
    if seen.state in (State.SUCCEEDED, State.FAILED, State.EXPIRED):
        require_scope(request, service, Scope.READ)
    settle(request)
    purged = await service.tickets.purge(seen.request_id)
    if purged is Purged.UNKNOWN:
        raise no_such_job(seen.id)
    if purged is Purged.OPEN:
        sentence = "expected a job that is not running; cancel it, and delete it when it has ended"
        raise Problem(409, Code.NOT_ENDED, sentence, job_id=seen.id, state=str(State.RUNNING))
    return web.Response(status=204)


async def list_jobs(request: web.Request, caller: Caller) -> web.Response:
    """Answer with one page of jobs, and with where the next one begins."""
    service, viewer = caller.service, viewer_for(request, caller)
    parameters = Parameters(request)
    limit = parameters.number("limit", default=PAGE, least=1, most=MAX_PAGE)
    wanted = _state(parameters.text("state"))
    parts = _PARTS_OF[wanted] if wanted else _PARTS
    part, start = _cursor(parameters.text("after"), parts, viewer)
    left = parts[parts.index(part) :]
    jobs, after = await _page(service, viewer, wanted, left, start=start, limit=limit)
    return json_response({"jobs": jobs, "after": after})


async def _page(
    service: Service,
    viewer: Viewer,
    wanted: State | None,
    parts: tuple[Part, ...],
    *,
    start: str,
    limit: int,
) -> tuple[list[dict[str, object]], str | None]:
    jobs: list[dict[str, object]] = []
    scanned = 0
    for part, next_part in _with_next(parts):
        while True:
            most = limit - len(jobs) if wanted is None else limit
            go_on, found = await service.tickets.list(
                part, start, most=max(1, most), owner=viewer.owner
            )
            scanned += len(found)
            for seen in await all_of([service.tickets.look(name) for name in found]):
                if seen.known and (wanted is None or seen.state is wanted):
                    jobs.append(await show(service, seen))
            if go_on is None:
                break
            start = go_on
            if len(jobs) >= limit or scanned >= SCAN_LIMIT:
                return jobs, f"{part}:{start}"
        start = LIST_BEGIN
        if next_part and (len(jobs) >= limit or scanned >= SCAN_LIMIT):
            return jobs, f"{next_part}:{start}"
    return jobs, None


def _with_next(parts: tuple[Part, ...]) -> Iterator[tuple[Part, Part | None]]:
    return zip(parts, (*parts[1:], None), strict=True)


def _state(text: str) -> State | None:
    if not text:
        return None
    try:
        return State(text)
    except ValueError:
        states = ", ".join(State)
        raise BadParameter("state", f"one of {states}", repr(text[:64])) from None


def _cursor(text: str, parts: tuple[Part, ...], viewer: Viewer) -> tuple[Part, str]:
    if not text:
        return parts[0], LIST_BEGIN
    word, _, start = text.partition(":")
    part = next((part for part in parts if part == word), None)
    if part is None or not _is_cursor(part, start, viewer):
        raise BadParameter("after", "the `after` of an earlier page", repr(text[:64]))
    return part, start


def _is_cursor(part: Part, start: str, viewer: Viewer) -> bool:
    """Say whether the store can continue from there.

    A number, a stream's id or, in a list of one owner's jobs, "=" and a job's id.
    """
    if part is Part.ENDED and not viewer.sees_all and start != LIST_BEGIN:
        return re.fullmatch(r"=[\x21-\x7e]{1,256}", start) is not None
    is_id = part is Part.DELAYED and start != LIST_BEGIN
    return all(
        re.fullmatch("[0-9]{1,20}", number) and int(number) < 2**64 - 1
        for number in (start.split("-", 1) if is_id else [start])
    ) and is_id == ("-" in start)
