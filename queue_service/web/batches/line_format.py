"""Lines of a batch in OpenAI's format, and their answers."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from client_sdk.wire import names
from queue_service.errors import BadParameter, ServiceError
from queue_service.service.batches.lines import (
    Answer,
    Checked,
    LineRefused,
    LineRequest,
    Resolved,
)
from queue_service.service.batches.plan import prefix_of
from queue_service.service.files import FileOwner
from queue_service.service.payload_files import PayloadFiles
from queue_service.store.batch import Usage
from queue_service.store.entry import Entry
from queue_service.store.rules import MOST_READ_BYTES, Limits
from queue_service.store.ticket import Seen, State
from queue_service.web.openai.answers import error_body, whole
from queue_service.web.openai.asked import Asked, Kind, asked_of
from queue_service.web.openai.refusals import BAD_ANSWER, AnswerRefused, described, failure
from queue_service.web.payload import Payload
from queue_service.web.references import resolving
from queue_service.web.statuses import status_of
from queue_service.web.strict_json import no_constant

#: What a batch may ask for: the path of each line.
ENDPOINTS = {f"/v1/{kind}": kind for kind in Kind}
#: The longest custom id, in characters.
MAX_CUSTOM_ID = 512
_FIELDS = frozenset(("custom_id", "method", "url", "body"))


class OpenAILines:
    """The format of the lines; see service/batches/lines.py."""

    def check(self, endpoint: str, text: bytes) -> Checked:
        """Check a line; raises LineRefused."""
        custom_id, asked, body = _read(endpoint, text)
        return Checked(custom_id, asked.service, asked.model, _prefix(body))

    def request(self, endpoint: str, text: bytes) -> LineRequest:
        """Return the job of a line; raises LineRefused."""
        custom_id, asked, _ = _read(endpoint, text)
        answer = partial(_answer, replace(asked, data=b""))
        return LineRequest(custom_id, asked.data, asked.path, names.JSON, answer)

    @asynccontextmanager
    async def resolving(
        self, data: bytes, files: PayloadFiles, owner: FileOwner, limits: Limits
    ) -> AsyncIterator[Resolved]:
        """Give the payload with files of its own for those that it names."""
        async with resolving(Payload(data), files, owner, limits) as payload:
            yield Resolved(payload.data, payload.files)

    def refusal(self, error: ServiceError) -> Answer:
        """Return the response to a line that the service refuses."""
        status = status_of(error)
        return Answer(status, described(status, error.code, error)[1])


def _read(endpoint: str, text: bytes) -> tuple[str, Asked, dict[str, Any]]:
    line = _object(text)
    if unknown := next(iter(line.keys() - _FIELDS), None):
        sentence = f"expected custom_id, method, url and body, got the field {unknown[:64]!r}"
        raise LineRefused("invalid_request", sentence, unknown[:64])
    custom_id = line.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_CUSTOM_ID:
        raise _wrong("custom_id", f"a text of 1 to {MAX_CUSTOM_ID} characters", custom_id)
    if line.get("method") != "POST":
        raise _wrong("method", "POST", line.get("method"))
    if line.get("url") != endpoint:
        raise _wrong("url", f"{endpoint}, the endpoint of the batch", line.get("url"))
    body = line.get("body")
    if not isinstance(body, dict):
        raise _wrong("body", "an object", body)
    if body.get("stream"):
        raise _wrong("body.stream", "false: a line has one answer", True)
    try:
        asked = asked_of(ENDPOINTS[endpoint], body)
    except BadParameter as error:
        raise LineRefused("invalid_request", f"body.{error}", f"body.{error.name}") from None
    return custom_id, asked, body


def _object(text: bytes) -> dict[str, Any]:
    try:
        # Windows' editors put a mark at the beginning of a file.
        line = json.loads(text.decode("utf-8-sig"), parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise LineRefused("invalid_json_line", f"expected JSON, got another: {error}") from None
    if not isinstance(line, dict):
        raise LineRefused("invalid_json_line", f"expected an object, got {repr(line)[:64]}")
    return line


def _wrong(name: str, expected: str, came: object) -> LineRefused:
    got = "nothing" if came is None else repr(came)[:64]
    code = "missing_required_parameter" if came is None else "invalid_request"
    return LineRefused(code, f"{name}: expected {expected}, got {got}", name)


def _prefix(body: Mapping[str, Any]) -> bytes:
    messages = body.get("messages")
    if isinstance(messages, list):
        texts = [_text(message) for message in messages]
    else:
        texts = [_text(body.get("prompt", body.get("input")))]
    return prefix_of("\n".join(texts), texts[0] if texts else "")


def _text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else json.dumps(value)


def _answer(asked: Asked, seen: Seen, entry: Entry | None) -> Answer:
    """Return the response of a job that has ended."""
    try:
        if seen.state is not State.SUCCEEDED or (entry is None and not seen.ticket.get("empty")):
            raise failure(seen, entry)
        if entry is not None and entry.size_bytes > MOST_READ_BYTES:
            raise ValueError(f"the answer has {entry.size_bytes} bytes, too many for JSON")
        body = whole(asked, seen.id, int(time.time()), entry.data if entry else b"")
    except AnswerRefused as error:
        refused = error_body(error.status, error.word, str(error), failure=error.failure)
        return Answer(error.status, refused)
    except ValueError as error:
        return Answer(502, error_body(502, BAD_ANSWER, str(error)))
    return Answer(200, body, _usage(body.get("usage")))


def _usage(reported: object) -> Usage:
    if not isinstance(reported, dict):
        return Usage()
    return Usage(
        input_tokens=_count(reported, "prompt_tokens"),
        cached_tokens=_count(reported.get("prompt_tokens_details"), "cached_tokens"),
        output_tokens=_count(reported, "completion_tokens"),
        reasoning_tokens=_count(reported.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(fields: object, name: str) -> int:
    """An engine's word, which may be anything."""
    count = fields.get(name) if isinstance(fields, dict) else None
    return count if type(count) is int and 0 <= count < 2**53 else 0
