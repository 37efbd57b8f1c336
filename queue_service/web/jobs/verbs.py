"""Get, cancel and delete jobs."""

from aiohttp import web

from client_sdk.wire.codes import Code
from queue_service.service.access import Scope
from queue_service.store.outcomes import Purged
from queue_service.store.ticket import Canceled, State
from queue_service.web.jobs.find import EndWait, find, find_by_name, viewer_for
from queue_service.web.jobs.problem import Problem, no_such_job
from queue_service.web.jobs.reading import read
from queue_service.web.jobs.result import show_whole
from queue_service.web.jobs.show import show
from queue_service.web.jobs.wanted_wait import wanted_wait
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import require_scope, settle


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
