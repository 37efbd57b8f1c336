"""Images and audio: a request becomes a job, waits for a worker, and is answered.

The job has the request's id, so you find it under `/v1/services/{service}/jobs`.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from client_sdk.wire.media import MediaPath
from queue_service.errors import BadParameter, OutcomeUnknown
from queue_service.service.file_owners import owner_of
from queue_service.web.body import let_go_of_body
from queue_service.web.keys import FILES, REQUEST_ID, REQUEST_IDS
from queue_service.web.openai.answering import KEPT_MS, Rendering, answer_with_result
from queue_service.web.openai.media_answers import PictureAnswer, SoundAnswer, TextAnswer
from queue_service.web.openai.media_body import Received, receiving_media
from queue_service.web.openai.submission import submission_of
from queue_service.web.routing import OwnerSomewhere

#: The paths that are answered directly; videos are asynchronous jobs (videos.py).
ANSWERED = tuple(path for path in MediaPath if path is not MediaPath.VIDEOS)


def answer(
    path: MediaPath,
) -> Callable[[web.Request, OwnerSomewhere], Awaitable[web.StreamResponse]]:
    """Return the handler for one path."""

    async def handle(request: web.Request, asking: OwnerSomewhere) -> web.StreamResponse:
        return await _answer(request, path, asking)

    return handle


async def _answer(
    request: web.Request, path: MediaPath, asking: OwnerSomewhere
) -> web.StreamResponse:
    async with receiving_media(request, path, asking) as received:
        rendering = _rendering(request, received)
        service = received.caller.service
        request_id = request[REQUEST_ID] = request.app[REQUEST_IDS].next()
        submission = submission_of(received, request_id, keep_ms=KEPT_MS, told_ms=KEPT_MS)
        try:
            name = (await service.tickets.submit(submission)).name
        except OutcomeUnknown:
            await service.tickets.discard(submission.stored(request_id))
            raise
    # The wait for the answer may be long, and the request is stored.
    del received, submission
    let_go_of_body(request)
    return await answer_with_result(request, service, name, rendering)


def _rendering(request: web.Request, received: Received) -> Rendering:
    asked, caller = received.asked, received.caller
    if asked.path is MediaPath.SPEECH:
        return SoundAnswer(asked)
    if asked.path.is_text:
        return TextAnswer(asked)
    if asked.format == "url" and not request.app[FILES].are_kept:
        raise BadParameter(
            "response_format", "b64_json, because this service keeps no files", "url"
        )
    return PictureAnswer(asked, request, owner_of(caller.token or caller.service))
