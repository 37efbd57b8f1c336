"""Errors of the OpenAI API, with the statuses and the body that OpenAI's clients know."""

import re

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from client_sdk.wire.failures import FailureType, type_named
from queue_service import errors
from queue_service.store.entry import Entry
from queue_service.store.ticket import Seen, State
from queue_service.web.error_formats import ErrorFormat
from queue_service.web.header_text import header_text
from queue_service.web.openai.answers import error_body
from queue_service.web.statuses import ErrorWithStatus, retry_headers
from queue_service.web.strict_json import json_response

_PATHS = re.compile(r"/v1/(?:chat/completions|completions|embeddings|models)(?:/|$)")

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
    if it gave one.  failure: the type of the job's failure, else "".
    """

    def __init__(self, status: int, word: str, sentence: str, failure: str = "") -> None:
        super().__init__(status, sentence)
        self.word = word
        self.failure = failure


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
    # 500 is the status of every failure without one, so the type says more.
    status = STATUSES.get(kind, status) if status == 500 else status
    sentence = (
        entry.data.decode("utf-8", "replace")[:MAX_SENTENCE] if entry else "the job has failed"
    )
    return AnswerRefused(status, word, sentence, kind)


def render(request: web.BaseRequest, status: int, code: Code, error: Exception) -> web.Response:
    """Write an error as OpenAI does."""
    parameter = error.name if isinstance(error, errors.BadParameter) else None
    kind, own = (error.failure, error.word) if isinstance(error, AnswerRefused) else ("", str(code))
    word = _WORDS.get(Code(own), own) if own in list(Code) else own
    body = error_body(status, word, str(error), parameter, kind)
    headers = {names.ERROR_CODE_HEADER: header_text(own), **retry_headers(error, status)}
    return json_response(body, status=status, headers=headers)


ERRORS = ErrorFormat(_PATHS, render)
