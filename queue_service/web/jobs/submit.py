"""Putting one job: POST for a new one, PUT for one under an id of the client's own."""

from dataclasses import replace
from typing import Any

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import BadParameter, IdInUse
from queue_service.service.access import Scope
from queue_service.service.file_owners import owner_of
from queue_service.store.outcomes import Submitted
from queue_service.store.owners import plain_name
from queue_service.web.body import let_go_of_body
from queue_service.web.jobs.batch import NDJSON, put_batch
from queue_service.web.jobs.events import EVENT_STREAM, stream_events
from queue_service.web.jobs.find import EndWait, find_by_name
from queue_service.web.jobs.form import read_form
from queue_service.web.jobs.options import Options, from_query, read_options
from queue_service.web.jobs.problem import conflict
from queue_service.web.jobs.result import answer_with_result
from queue_service.web.jobs.show import path_of, retry_after, show
from queue_service.web.jobs.submission import to_submission
from queue_service.web.jobs.wanted_wait import WAIT, wanted_wait
from queue_service.web.jobs.webhook import webhook_of
from queue_service.web.keys import REQUEST_IDS, SETTINGS
from queue_service.web.parameters import read_key
from queue_service.web.payload import receiving
from queue_service.web.references import resolving
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import check_admission, may, settle


async def post_job(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Put a job, or many when the body is NDJSON."""
    if request.content_type == NDJSON:
        return await put_batch(request, caller)
    return await _put(request, caller, {})


async def put_job(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Put a job under the id that the path names; the same again changes nothing."""
    return await _put(request, caller, {"id": request.match_info["job"]})


async def _put(request: web.Request, caller: Caller, given: dict[str, Any]) -> web.StreamResponse:
    settings, service = request.app[SETTINGS], caller.service
    # The wait is not part of the request: a repetition may wait longer.
    asked_for = [(name, value) for name, value in request.query.items() if name != WAIT]
    options = _read_options(request, dict(asked_for), given)
    wait_s = wanted_wait(request)
    options, form = await read_form(request, service, options)
    asked = "&".join(f"{name}={value}" for name, value in sorted(asked_for))
    wants_events = _wants_events(request)
    webhook = await webhook_of(request, service, options)
    limits, files_of = service.input.limits, owner_of(caller.token or service)
    async with (
        receiving(
            request,
            service.files,
            limits,
            timeout_s=settings.body_timeout_s,
            content_type=options.content_type,
            arrived=form,
        ) as received,
        resolving(received, service.files, files_of, limits) as payload,
    ):
        if not received.files:
            await service.interfaces.check(
                received.data, content_type=options.content_type, path=options.path
            )
        if wait_s or wants_events:
            check_admission(request)
        else:
            settle(request)
        job_id = options.id or request.app[REQUEST_IDS].next()
        submission = replace(
            to_submission(
                service, options, payload, job_id=job_id, asked=asked, putter=caller.putter
            ),
            # A client that waits, or follows, has no use for where the job is now.
            looks=not wait_s and not wants_events,
            webhook=webhook,
        )
        name = submission.stored(job_id)
        waiting = EndWait(request, service, name, wait_s) if wait_s else None
        try:
            submitted = await service.tickets.submit(submission)
        except IdInUse as error:
            raise conflict(error, 409 if options.id else 422) from None
    # The wait for the result may be long, and the input is stored.
    del received, payload, submission
    let_go_of_body(request)
    # A request may return the result of what it has put itself.  A repeated put returns that of an
    # earlier request, maybe by another token of the same owner, which needs the scope `read`.
    reads = submitted.is_new or caller.token is None or may(request, service, Scope.READ)
    return await _answer(request, caller, submitted, waiting, reads=reads)


def _read_options(
    request: web.Request, asked_for: dict[str, str], given: dict[str, Any]
) -> Options:
    query = from_query(asked_for, request.query.getall("tag", []))
    if set(query) & {"id", "idempotency_key"}:
        raise BadParameter(
            "id", "the id in the path of a PUT, the key in a header", "one in the query"
        )
    key = request.headers.get(names.IDEMPOTENCY_HEADER)
    return read_options(
        {
            **query,
            **given,
            "content_type": request.headers.get("Content-Type", ""),
            **({"idempotency_key": read_key(key)} if key is not None else {}),
        },
        most_not_before_s=request.app[SETTINGS].max_not_before_s,
    )


async def _answer(
    request: web.Request,
    caller: Caller,
    submitted: Submitted,
    waiting: EndWait | None,
    *,
    reads: bool,
) -> web.StreamResponse:
    service, name, seen = caller.service, submitted.name, submitted.seen
    job_id = plain_name(name)
    headers = {"Location": path_of(service.name, job_id), names.REQUEST_ID_HEADER: job_id}
    if reads and _wants_events(request):
        return await stream_events(request, service, name, after=0, headers=headers)
    if seen is None and not (waiting and submitted.is_new):
        seen = await find_by_name(service, name)
    if waiting:
        headers["Preference-Applied"] = f"wait={waiting.wait_s:g}"
        seen = await waiting.after(seen, name)
        if seen.has_ended and reads:
            return await answer_with_result(request, caller, seen, headers)
    assert seen is not None
    settle(request)
    job = await show(service, seen)
    if seen.has_ended:
        return json_response(job, headers=headers)
    headers["Retry-After"] = retry_after(job["estimate"])
    return json_response(job, status=202, headers=headers)


def _wants_events(request: web.Request) -> bool:
    return EVENT_STREAM in request.headers.get("Accept", "")
