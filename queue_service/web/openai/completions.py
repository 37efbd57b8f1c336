"""Chat, text and embeddings: a request becomes a job, waits for a worker, and is answered.

The job has the request's id, so you find it under `/v1/services/{service}/jobs`.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import OutcomeUnknown
from queue_service.service.file_owners import owner_of
from queue_service.store.owners import plain_name
from queue_service.store.ticket import Event, Submission
from queue_service.web.body import let_go_of_body, read_body
from queue_service.web.keys import REQUEST_ID, REQUEST_IDS, SERVICES, SETTINGS
from queue_service.web.openai.answering import KEPT_MS, answer_with_result
from queue_service.web.openai.answers import whole
from queue_service.web.openai.asked import Asked, Kind, read_asked
from queue_service.web.openai.chunks import Chunks
from queue_service.web.payload import Payload
from queue_service.web.references import resolving
from queue_service.web.routing import CallerSomewhere
from queue_service.web.strict_json import json_response


def answer(
    kind: Kind,
) -> Callable[[web.Request, CallerSomewhere], Awaitable[web.StreamResponse]]:
    """Return the handler for one kind of request."""

    async def handle(request: web.Request, caller: CallerSomewhere) -> web.StreamResponse:
        return await _answer(request, kind, caller)

    return handle


async def _answer(
    request: web.Request, kind: Kind, somewhere: CallerSomewhere
) -> web.StreamResponse:
    settings, services = request.app[SETTINGS], request.app[SERVICES]
    # No body may be larger than what the most generous service takes.
    limit = max((s.input.limits.read_bytes for s in services), default=0)
    body = await read_body(request, limit_bytes=limit, timeout_s=settings.body_timeout_s)
    asked = read_asked(kind, body)
    caller = await somewhere.to(asked.service)
    service = caller.service
    await service.interfaces.check(asked.data, content_type=names.JSON, path=asked.path)
    request_id = request[REQUEST_ID] = request.app[REQUEST_IDS].next()
    limits, files_of = service.input.limits, owner_of(caller.token or service)
    async with resolving(Payload(asked.data), service.files, files_of, limits) as payload:
        submission = Submission(
            request_id=request_id,
            data=payload.data,
            digest=hashlib.sha256(asked.data).hexdigest(),
            keep_ms=KEPT_MS,
            told_ms=KEPT_MS,
            path=asked.path,
            content_type=names.JSON,
            events=asked.stream,
            quiet=True,
            putter=caller.putter,
            files=payload.files,
        )
        try:
            name = (await service.tickets.submit(submission)).name
        except OutcomeUnknown:
            await service.tickets.discard(submission.stored(request_id))
            raise
    # The wait for the answer may be long, and the request is stored.
    asked = replace(asked, data=b"")
    del body, payload, submission
    let_go_of_body(request)
    return await answer_with_result(request, service, name, _Completion(asked, plain_name(name)))


class _Completion:
    """Text, whole or in chunks, or vectors."""

    def __init__(self, asked: Asked, request_id: str) -> None:
        self.stream = asked.stream
        self._asked = asked
        self._request_id = request_id
        self._created_s = int(time.time())
        self._chunks = Chunks(asked, request_id, self._created_s)

    def feed(self, event: Event) -> bytes:
        return self._chunks.feed(event)

    def end(self, output: bytes, content_type: str, usage: dict[str, Any]) -> bytes:
        return self._chunks.end(output, usage)

    async def whole(
        self, output: bytes, content_type: str, headers: dict[str, str]
    ) -> web.Response:
        body = whole(self._asked, self._request_id, self._created_s, output)
        return json_response(body, headers=headers)
