"""A job's result: you can read it any number of times until it expires."""

import json
import re

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from queue_service.service.service import Service
from queue_service.store.entry import Entry, Filter, Read
from queue_service.store.ticket import Seen, State
from queue_service.web.file_response import (
    SAFE_HEADERS,
    content_response,
    disposition,
    file_headers,
    media_type,
)
from queue_service.web.header_text import header_json, header_text
from queue_service.web.jobs.find import EndWait, find, name_in, viewer_for
from queue_service.web.jobs.problem import Problem, no_such_job
from queue_service.web.jobs.reading import read, read_error
from queue_service.web.jobs.show import artifacts_of, error_of, iso, retry_after, show
from queue_service.web.jobs.wanted_wait import wanted_wait
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response, no_constant

#: A result up to this size is looked into for what it is, in bytes.
LOOK_INTO_BYTES = 1024 * 1024
#: As much of an error's text is shown, in characters.
MAX_DETAIL = 8192
#: The largest number of bytes of this text.
MAX_DETAIL_BYTES = 4 * MAX_DETAIL


async def get_result(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Answer with the result, or say why there is none."""
    service, viewer = caller.service, viewer_for(request, caller)
    wait_s = wanted_wait(request)
    waiting = EndWait(request, service, name_in(request, viewer), wait_s) if wait_s else None
    seen = await find(request, service, viewer, with_result=True)
    if waiting and not seen.has_ended:
        seen = await waiting.after(seen, seen.request_id)
    return await answer_with_result(request, caller, seen)


async def answer_with_result(
    request: web.Request, caller: Caller, seen: Seen, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """Answer with the outcome of a job, and note that its result is read."""
    try:
        response = await _answer(request, caller.service, seen, headers)
    except Problem as problem:
        return await read_error(request, caller, seen, problem)
    return await read(request, caller, seen, response)


async def _answer(
    request: web.Request, service: Service, seen: Seen, headers: dict[str, str] | None
) -> web.StreamResponse:
    """Return 200, 202 while the job is open, 204, 304; or raise a problem."""
    headers = dict(headers or {})
    if not seen.known:
        raise no_such_job(seen.id)
    if not seen.has_ended:
        job = await show(service, seen)
        headers["Retry-After"] = retry_after(job["estimate"])
        return json_response(job, status=202, headers=headers)
    etag = f'"{seen.result_index}"'
    if seen.state is State.SUCCEEDED and seen.result_index:
        # A proxy that compresses makes the tag a weak one; to a reader it is the same.
        known = {tag.value for tag in request.if_none_match or ()}
        if known & {str(seen.result_index), "*"}:
            return web.Response(status=304, headers={"ETag": etag})
        if entry := await _read(service, seen):
            response = await _render(request, service, entry, {**headers, "ETag": etag})
            # Also with a redirect: the client can then confirm that it has the content.
            response.headers.setdefault("ETag", etag)
            return response
    if seen.state is State.SUCCEEDED:
        if seen.ticket.get("empty"):
            return web.Response(status=204, headers=headers)
        raise _gone(seen)
    entry = await _read(service, seen) if seen.result_index else None
    raise _failure(seen, entry and await service.files.with_beginning(entry, MAX_DETAIL_BYTES))


async def show_whole(request: web.Request, service: Service, seen: Seen) -> dict[str, object]:
    """Describe a job with its artifacts and the text of its error: its owner may see both."""
    job = await show(service, seen, whole=True)
    job["artifacts"] = await artifacts_of(service, seen)
    error = job["error"]
    if isinstance(error, dict) and seen.result_index and (entry := await _read(service, seen)):
        entry = await service.files.with_beginning(entry, MAX_DETAIL_BYTES)
        error["message"] = entry.data.decode("utf-8", "replace")[:MAX_DETAIL]
    return job


async def _read(service: Service, seen: Seen) -> Entry | None:
    if seen.result is not None:
        return seen.result
    read = Read(Filter(request_id=seen.id, owner=seen.owner), 1, take=False)
    entries = await service.sink.get(read)
    return entries[0] if entries else None


def _failure(seen: Seen, entry: Entry | None) -> Problem:
    tags = entry.tags() if entry else {}
    reason = tags.get(names.ERROR_CODE_TAG) or seen.ticket.get("code")
    detail = entry.data.decode("utf-8", "replace")[:MAX_DETAIL] if entry else f"it was {seen.state}"
    # A worker's text: "²" is a digit to Python and no number, and 5,000 digits are too many for it.
    status = tags.get(names.LAST_CODE_TAG, "")
    return Problem(
        409,
        Code.NO_RESULT,
        detail,
        job_id=seen.id,
        state=str(seen.state),
        reason=reason,
        error=_error(seen, detail),
        last_code=int(status) if re.fullmatch("[0-9]{1,9}", status) else None,
    )


def _gone(seen: Seen) -> Problem:
    read_at, gone_at = (iso(int(seen.ticket.get(name, 0))) for name in ("read_at", "gone_at"))
    why = "it was read from the sink or deleted there, or its time was over"
    if seen.ticket.get("room"):
        why = (
            f"it was read at {read_at}, and dropped at {gone_at} to make room for new results; put "
            "the job again if you need it"
        )
    sentence = f"the job succeeded and its result is gone: {why}"
    return Problem(410, Code.GONE, sentence, job_id=seen.id, read_at=read_at, gone_at=gone_at)


def _error(seen: Seen, detail: str) -> dict[str, object] | None:
    error = error_of(seen, whole=True)
    return error and {**error, "message": detail}


async def _render(
    request: web.Request, service: Service, entry: Entry, headers: dict[str, str]
) -> web.StreamResponse:
    headers |= {
        names.REQUEST_ID_HEADER: header_text(entry.request_id),
        names.INDEX_HEADER: str(entry.index),
        names.TAGS_HEADER: header_json(json.dumps(entry.tags())),
        # What a model wrote is never to be taken for a page of ours.
        **SAFE_HEADERS,
    }
    kind = media_type(entry.tags().get(names.CONTENT_TYPE_TAG, ""))
    if (file := entry.payload_file) is not None:
        about = file_headers(
            content_type=kind or file.content_type, filename=file.filename, sha256=file.sha256
        )
        # It answers a range with a part, and has an ETag of its own.
        content = await service.files.content(file)
        return await content_response(request, content, {**headers, **about}, may_redirect=True)
    if kind:
        headers["Content-Disposition"] = disposition(kind)
    body, kind = entry.data, kind or kind_of(entry.data)
    charset = "utf-8" if kind == "text/plain" else None
    return web.Response(body=body, content_type=kind, charset=charset, headers=headers)


def kind_of(data: bytes) -> str:
    """What a result is: JSON, text, or bytes."""
    if len(data) > LOOK_INTO_BYTES:
        return "application/octet-stream"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    try:
        json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return "text/plain"
    return names.JSON
