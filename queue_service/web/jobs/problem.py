"""Errors of the jobs face, as problem details (RFC 9457)."""

import math
from collections.abc import Mapping

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from queue_service import errors
from queue_service.web.strict_json import dumps

#: When a full queue or an absent store is worth another try, in seconds.
RETRY_AFTER_S = 2

#: Where this face has another status than the others: here 429 is for a caller's own quota.
_STATUS: dict[type[errors.ServiceError], int] = {errors.QueueFull: 503}

_TITLES: dict[str, str] = {
    Code.ID_IN_USE: "The id or key stands for another job",
    Code.ENDED: "The job has ended",
    Code.NOT_ENDED: "The job has not ended",
    Code.NO_RESULT: "The job ended without a result",
    Code.GONE: "The result is gone",
    Code.FRAME_TOO_BIG: "The input is too big",
    Code.QUEUE_FULL: "The queue is full",
    Code.QUOTA_EXCEEDED: "The token has as much as it may have",
    Code.NOT_FOUND: "Not found",
    Code.UNAUTHORIZED: "The token is missing or wrong",
    Code.HOST_NOT_ALLOWED: "The service has another name",
    Code.ORIGIN_NOT_ALLOWED: "Pages of this origin may not ask",
    Code.FORBIDDEN: "The token does not permit this",
    Code.BAD_PARAMETER: "The request is malformed",
    Code.STORE_UNAVAILABLE: "The store is away",
    Code.OUTCOME_UNKNOWN: "The store did not answer, and may have done it",
    Code.NEWER_FORMAT: "This replica is too old for what is stored",
    Code.NO_SUCH_SERVICE: "There is no such service",
    Code.SERVICE_STOPPED: "The service is stopped",
    Code.DRAINING: "This replica is stopping",
    Code.INTERNAL: "The service failed",
}


class Problem(errors.ServiceError):
    """An error of this face: its status and code, a sentence, and fields beside them."""

    def __init__(self, status: int, code: Code, sentence: str, **fields: object) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.fields = fields


def no_such_job(request_id: str) -> Problem:
    """Nothing is known under this id, or nothing any more."""
    return Problem(404, Code.NOT_FOUND, f"there is no job {request_id[:64]!r}", job_id=request_id)


def conflict(request_id: str, status: int) -> Problem:
    """An id or a key was used for something else."""
    sentence = "expected the same input and options as before under this id or key, got others"
    return Problem(status, Code.ID_IN_USE, sentence, job_id=request_id)


def status_of(error: errors.ServiceError, usual: int) -> int:
    """The status of an error on this face."""
    return error.status if isinstance(error, Problem) else _STATUS.get(type(error), usual)


def describe(error: errors.ServiceError, status: int) -> dict[str, object]:
    """The problem's members."""
    fields: Mapping[str, object] = error.fields if isinstance(error, Problem) else {}
    if isinstance(error, errors.FrameTooBig):
        fields = {"limit_bytes": error.limit, "size_bytes": error.size}
    elif isinstance(error, errors.QueueFull):
        fields = {"capacity": error.capacity}
    elif isinstance(error, errors.QuotaExceeded):
        fields = {"quota": error.quota, "limit": error.limit, "count": error.count}
    elif isinstance(error, errors.BadParameter):
        fields = {"parameter": error.name}
    return members(status, error.code, str(error), **fields)


def members(status: int, code: Code, sentence: str, **fields: object) -> dict[str, object]:
    """What every problem has, and some fields."""
    return {
        "type": f"urn:penstock:problem:{code}",
        "title": _TITLES.get(code, str(code)),
        "status": status,
        "detail": sentence,
        "code": str(code),
        **fields,
    }


def headers_of(error: errors.ServiceError) -> dict[str, str]:
    """What is said beside the problem: when the caller's quota may have room again."""
    if not isinstance(error, errors.QuotaExceeded):
        return {}
    wait_s = RETRY_AFTER_S if error.retry_after_s is None else math.ceil(error.retry_after_s)
    return {"Retry-After": str(max(1, wait_s))}


def render(
    status: int, body: Mapping[str, object], more_headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with a problem."""
    headers = {names.ERROR_CODE_HEADER: str(body["code"]), **(more_headers or {})}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    text = dumps(body)
    return web.Response(text=text, status=status, headers=headers, content_type=names.PROBLEM_JSON)
