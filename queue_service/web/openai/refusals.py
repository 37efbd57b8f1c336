"""Errors of the OpenAI API, with the statuses and the body that OpenAI's clients know."""

import re
import uuid
from typing import Any

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from client_sdk.wire.failures import FailureType, type_named
from queue_service import errors
from queue_service.service.interfaces import InvalidInput
from queue_service.store.entry import Entry
from queue_service.store.ticket import Seen, State
from queue_service.web.error_formats import ErrorFormat
from queue_service.web.header_text import header_text
from queue_service.web.keys import REQUEST_ID
from queue_service.web.openai.answers import error_body
from queue_service.web.openai.reported import (
    CONTEXT_LENGTH_EXCEEDED,
    is_too_long,
    parameter_in,
    read_error,
)
from queue_service.web.statuses import ErrorWithStatus, retry_headers
from queue_service.web.strict_json import json_response

#: All of /v1 but the admin and jobs APIs: a client of OpenAI that uses a path which does not exist
#: here has to understand the answer.
_PATHS = re.compile(r"/v1(?!/(?:audit|overview|services|tokens|usage)(?:/|$))(?:/|$)")

#: OpenAI's code for an invalid token.
INVALID_KEY = "invalid_api_key"
#: OpenAI's codes, for errors that its clients recognize by code.
_WORDS = {
    Code.NO_SUCH_SERVICE: "model_not_found",
    Code.UNAUTHORIZED: INVALID_KEY,
    Code.QUOTA_EXCEEDED: "rate_limit_exceeded",
}
#: The longest part of an engine's message that is shown, in characters.
MAX_SENTENCE = 8192

#: The header with the id of a request, in every response of OpenAI.
OPENAI_REQUEST_ID = "x-request-id"
#: A header that OpenAI's SDKs obey, and the statuses after which a retry is no use.
_SHOULD_RETRY = "x-should-retry"
_TRIED_ENOUGH = (408, 409, 500, 502, 504)

#: The code of an error inside a server's stream that has no status.
UPSTREAM_ERROR = "UpstreamError"

#: The statuses of failures without their own status; 500 for types that are not here.
STATUSES = {
    FailureType.BAD_INPUT: 400,
    FailureType.TRANSIENT: 503,
    FailureType.TIMEOUT: 504,
}

#: The code of a stream that could not be continued.
DIVERGED = "ANSWER_DIVERGED"
#: The code of a stream whose client was too slow to read it.
STREAM_CUT = "STREAM_CUT"
#: The code of a result that is not in OpenAI's format.
BAD_ANSWER = "BAD_ANSWER"


class AnswerRefused(ErrorWithStatus):
    """A request whose job did not succeed.

    status: of the response, unless it is a stream that has begun.  word: the code, an engine's own
    if it gave one.  failure: the type of the job's failure, else "".  reported: the fields of the
    error that a server has reported; they pass through.
    """

    def __init__(
        self,
        status: int,
        word: str,
        sentence: str,
        failure: str = "",
        reported: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(status, sentence)
        self.word = word
        self.failure = failure
        self.reported = reported or {}

    @property
    def body(self) -> dict[str, Any]:
        """The body in OpenAI's format."""
        body = error_body(self.status, self.word, str(self), failure=self.failure)
        return {"error": {**body["error"], **self.reported}}


def failure(seen: Seen, entry: Entry | None) -> AnswerRefused:
    """Return why there is no answer."""
    tags = entry.tags() if entry else {}
    word = tags.get(names.ERROR_CODE_TAG) or str(seen.ticket.get("code") or seen.state)
    if not seen.known:
        return AnswerRefused(
            410, "GONE", "the job of this request is gone; its service may have been deleted"
        )
    if seen.state is State.CANCELED:
        return AnswerRefused(409, word, "the request was canceled")
    if seen.state is State.SUCCEEDED:
        return AnswerRefused(410, "GONE", "another client has read the answer from the sink")
    reported = tags.get(names.LAST_CODE_TAG, "")
    kind = type_named(tags.get(names.ERROR_TYPE_TAG, ""), word)
    status = int(reported) if re.fullmatch(r"[45][0-9]{2}", reported) else 500
    is_of_server = re.fullmatch(r"[45][0-9]{2}", word) is not None
    if status == 500 and not is_of_server:
        # 500 is the status of every failure without one, so the type says more.
        status = STATUSES.get(kind, status)
    if entry is None:
        return AnswerRefused(status, word, "the job has failed", kind)
    if is_of_server or word == UPSTREAM_ERROR:
        error = read_error(entry.data) or {}
        message = str(error.get("message") or _text_of(entry))
    else:
        message = _text_of(entry)
        error = {"param": parameter_in(message)}
    if is_too_long(status, message) and str(error.get("code") or status) == str(status):
        error["code"] = CONTEXT_LENGTH_EXCEEDED
    return AnswerRefused(status, word, message[:MAX_SENTENCE], kind, error)


def _text_of(entry: Entry) -> str:
    return entry.data.decode("utf-8", "replace")


def described(status: int, code: Code, error: Exception) -> tuple[str, dict[str, Any]]:
    """Return the code and the body of an error."""
    if isinstance(error, AnswerRefused):
        return error.word, error.body
    parameter = error.name if isinstance(error, errors.BadParameter) else None
    if isinstance(error, InvalidInput):
        parameter = error.wrong[0].path
    own = str(code)
    word = _WORDS.get(Code(own), own) if own in list(Code) else own
    return own, error_body(status, word, str(error), parameter)


def render(request: web.BaseRequest, status: int, code: Code, error: Exception) -> web.Response:
    """Write an error as OpenAI does."""
    own, body = described(status, code, error)
    headers = {
        names.ERROR_CODE_HEADER: header_text(own),
        OPENAI_REQUEST_ID: request.get(REQUEST_ID) or str(uuid.uuid4()),
        **retry_headers(error, status),
    }
    if isinstance(error, AnswerRefused) and status in _TRIED_ENOUGH:
        # The SDKs repeat these on their own; but the job was canceled, or has had all its attempts.
        headers[_SHOULD_RETRY] = "false"
    return json_response(body, status=status, headers=headers)


ERRORS = ErrorFormat(_PATHS, render)
