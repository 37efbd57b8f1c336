"""Videos: asynchronous jobs.  A client creates one, polls it, and fetches its content.

They are ordinary jobs too, under `/v1/services/{service}/jobs`, with the retention of the service.
"""

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from client_sdk.wire.media import MediaPath
from queue_service.errors import BadParameter, NoSuchService
from queue_service.service.service import Service
from queue_service.store.entry import Entry, Filter, Read
from queue_service.store.outcomes import Purged
from queue_service.store.owners import owned_name
from queue_service.store.ticket import Listed, Seen, State
from queue_service.web.body import let_go_of_body
from queue_service.web.file_response import (
    SAFE_HEADERS,
    PartOfBytes,
    content_response,
    disposition,
    file_headers,
    media_type,
)
from queue_service.web.keys import REQUEST_ID, REQUEST_IDS, SERVICES
from queue_service.web.openai import video_jobs, video_shelves
from queue_service.web.openai.media_body import receiving_media
from queue_service.web.openai.refusals import OPENAI_REQUEST_ID, AnswerRefused, failure
from queue_service.web.openai.submission import submission_of
from queue_service.web.openai.video_jobs import VideoId
from queue_service.web.openai.video_shelves import Shelf
from queue_service.web.parameters import Parameters
from queue_service.web.routing import Caller, CallerSomewhere, OwnerSomewhere
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import settle

#: The videos of one page: by default, and at most, as OpenAI.
PAGE, MAX_PAGE = 20, 100
_UNNAMED = "application/octet-stream"


async def create_video(request: web.Request, asking: OwnerSomewhere) -> web.Response:
    """Put the job of a video, and describe it."""
    async with receiving_media(request, MediaPath.VIDEOS, asking) as received:
        service = received.caller.service
        request_id = request[REQUEST_ID] = request.app[REQUEST_IDS].next()
        submission = submission_of(
            received,
            request_id,
            keep_ms=service.tickets.keep_ms,
            told_ms=service.tickets.told_ms,
            about=video_jobs.about_of(received.asked),
            listed=video_jobs.LIST,
        )
        settle(request)
        name = (await service.tickets.submit(submission)).name
    del received, submission
    let_go_of_body(request)
    return _described(request, service, await service.tickets.look(name))


async def get_video(request: web.Request, somewhere: CallerSomewhere) -> web.Response:
    """Describe a video."""
    caller, seen = await _find(request, somewhere, request.match_info["video"])
    return _described(request, caller.service, seen)


async def delete_video(request: web.Request, somewhere: CallerSomewhere) -> web.Response:
    """Delete a video and its content; one that is not ready is canceled."""
    caller, seen = await _find(request, somewhere, request.match_info["video"])
    tickets = caller.service.tickets
    settle(request)
    if not seen.has_ended or await tickets.purge(seen.request_id) is Purged.OPEN:
        await tickets.discard(seen.request_id)
    video_id = str(VideoId(seen.id, caller.service.name))
    body = {"id": video_id, "object": "video.deleted", "deleted": True}
    return json_response(body, headers=_headers(request))


async def get_content(request: web.Request, somewhere: CallerSomewhere) -> web.StreamResponse:
    """Send the content; `Range` and `If-None-Match` are obeyed."""
    variant = request.query.get("variant", "video")
    if variant != "video":
        raise BadParameter("variant", "video, the only content that is kept", repr(variant[:64]))
    caller, seen = await _find(request, somewhere, request.match_info["video"])
    if not seen.has_ended:
        status = video_jobs.shown(caller.service.name, seen)["status"]
        sentence = f"expected a video that is completed, got one that is {status}"
        raise AnswerRefused(409, Code.NOT_ENDED, sentence)
    entry = await _result(caller.service, seen)
    if seen.state is not State.SUCCEEDED or entry is None:
        raise failure(seen, entry)
    return await _content(request, caller.service, entry)


async def list_videos(request: web.Request, somewhere: CallerSomewhere) -> web.Response:
    """List the videos of every service that this token may use, the newest first."""
    asked = Parameters(request)
    order = asked.text("order", "desc")
    if order not in ("asc", "desc"):
        raise BadParameter("order", "asc or desc", repr(order[:64]))
    count = asked.number("limit", default=PAGE, least=1, most=MAX_PAGE)
    after = asked.text("after")
    services = request.app[SERVICES]
    owned = [
        Shelf(service, (await somewhere.to(service.name)).viewer.owner)
        for service in list(services)
        if somewhere.may_use(service)
    ]
    begin = await _place_of(request, somewhere, after) if after else None
    found = await video_shelves.page(owned, begin, newest_first=order == "desc", most=count + 1)
    page = [video_jobs.shown(service.name, seen) for service, seen in found[:count]]
    body = {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(found) > count,
    }
    return json_response(body, headers=_headers(request))


async def refuse_remix(request: web.Request, somewhere: CallerSomewhere) -> web.Response:
    """Say that there are no remixes."""
    raise AnswerRefused(
        501,
        "unsupported",
        "videos cannot be remixed here: create a new one, with the content of the first as its "
        "`input_reference`",
    )


async def _find(request: web.Request, somewhere: CallerSomewhere, text: str) -> tuple[Caller, Seen]:
    video = video_jobs.read_id(text)
    if video is None:
        raise _no_such_video(text)
    try:
        caller = await somewhere.to(video.service)
    except NoSuchService:
        raise _no_such_video(text) from None
    seen = await caller.service.tickets.look(caller.viewer.stored(video.request_id))
    if not video_jobs.is_video(seen):
        raise _no_such_video(text)
    return caller, seen


async def _place_of(request: web.Request, somewhere: CallerSomewhere, after: str) -> Listed:
    _, seen = await _find(request, somewhere, after)
    return Listed(int(seen.ticket.get("put_at", 0)), owned_name(seen.owner, seen.id))


async def _result(service: Service, seen: Seen) -> Entry | None:
    if not seen.result_index:
        return None
    read = Read(Filter(request_id=seen.id, owner=seen.owner), 1, take=False)
    return next(iter(await service.sink.get(read)), None)


async def _content(request: web.Request, service: Service, entry: Entry) -> web.StreamResponse:
    kind = media_type(entry.tags().get(names.CONTENT_TYPE_TAG, ""))
    if (file := entry.payload_file) is not None:
        headers = file_headers(
            content_type=kind or file.content_type, filename=file.filename, sha256=file.sha256
        )
        content = await service.files.content(file)
        return await content_response(request, content, {**headers, **_headers(request)})
    kind = kind or _UNNAMED
    headers = {"Content-Type": kind, "Content-Disposition": disposition(kind), **SAFE_HEADERS}
    return PartOfBytes(entry.data, request, {**headers, **_headers(request)})


def _described(request: web.Request, service: Service, seen: Seen) -> web.Response:
    return json_response(video_jobs.shown(service.name, seen), headers=_headers(request))


def _headers(request: web.Request) -> dict[str, str]:
    return {OPENAI_REQUEST_ID: request.get(REQUEST_ID) or request.app[REQUEST_IDS].next()}


def _no_such_video(text: str) -> AnswerRefused:
    return AnswerRefused(404, Code.NOT_FOUND, f"there is no video {text[:300]!r} of this token")
