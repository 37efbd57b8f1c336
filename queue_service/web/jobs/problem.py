"""Errors of the jobs API, as problem details (RFC 9457)."""

import re
from collections.abc import Mapping

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from queue_service import errors
from queue_service.error_advice import UnreadResults
from queue_service.service.interfaces import InvalidInput
from queue_service.web.error_formats import ErrorFormat
from queue_service.web.statuses import ErrorWithStatus, Statuses, retry_headers
from queue_service.web.strict_json import dumps

_PATHS = re.compile(r"/v1/services/[^/]+/(?:jobs(?:/|$)|(?:schema|openapi\.json)$)")
#: In this API 429 is for a token's own quota, and a full queue is nobody's quota.
_STATUSES: Statuses = {errors.QueueFull: 503}

_TITLES: dict[str, str] = {
    Code.ID_IN_USE: "The id or key belongs to another job",
    Code.ENDED: "The job has ended",
    Code.NOT_ENDED: "The job has not ended",
    Code.NO_RESULT: "The job ended without a result",
    Code.GONE: "The result is gone",
    Code.INVALID_INPUT: "The input does not match the schema",
    Code.FRAME_TOO_BIG: "The input is too big",
    Code.QUEUE_FULL: "The queue is full",
    Code.QUOTA_EXCEEDED: "The token has reached a limit",
    Code.NOT_FOUND: "Not found",
    Code.UNAUTHORIZED: "The token is missing or invalid",
    Code.HOST_NOT_ALLOWED: "The host is not a name of this service",
    Code.ORIGIN_NOT_ALLOWED: "This origin is not allowed",
    Code.FORBIDDEN: "The token does not permit this",
    Code.BAD_PARAMETER: "The request is invalid",
    Code.STORE_UNAVAILABLE: "The store is unavailable",
    Code.OUTCOME_UNKNOWN: "The store did not respond, and may have applied the change",
    Code.NEWER_FORMAT: "This replica is older than what is stored",
    Code.NO_SUCH_SERVICE: "There is no such service",
    Code.SERVICE_STOPPED: "The service is stopped",
    Code.DRAINING: "This replica is stopping",
    Code.INTERNAL: "The service failed",
}


class Problem(ErrorWithStatus):
    """An error of this API: its status and code, a sentence, and additional fields."""

    def __init__(self, status: int, code: Code, sentence: str, **fields: object) -> None:
        super().__init__(status, sentence)
        self.code = code
        self.fields = fields


def no_such_job(request_id: str) -> Problem:
    """Return the error for an id that no job has, or no longer has."""
    return Problem(404, Code.NOT_FOUND, f"there is no job {request_id[:64]!r}", job_id=request_id)


def conflict(error: errors.IdInUse, status: int) -> Problem:
    """Return the error for an id or a key that another job has."""
    return Problem(status, error.code, str(error), job_id=error.request_id)


def describe(error: errors.ServiceError, status: int) -> dict[str, object]:
    """Return the members of an error's problem."""
    fields: Mapping[str, object] = error.fields if isinstance(error, Problem) else {}
    if isinstance(error, errors.FrameTooBig):
        fields = {"limit_bytes": error.limit, "size_bytes": error.size}
    elif isinstance(error, errors.QueueFull):
        fields = {"capacity": error.capacity}
    elif isinstance(error, errors.QuotaExceeded):
        fields = {"quota": error.quota, "limit": error.limit, "count": error.count}
    elif isinstance(error, InvalidInput):
        fields = {"errors": [{"path": one.path, "detail": one.sentence} for one in error.wrong]}
    elif isinstance(error, errors.BadParameter):
        fields = {"parameter": error.name}
    if error.results is not None:
        fields = {**fields, "unread_results": unread_results(error.results)}
    return members(status, error.code, str(error), **fields)


def unread_results(results: UnreadResults) -> dict[str, object]:
    """Describe the results that are why nothing more is accepted."""
    next_s = None if results.next_ms is None else results.next_ms / 1000
    return {"count": results.count, "next_expires_in_s": next_s}


def members(status: int, code: Code, sentence: str, **fields: object) -> dict[str, object]:
    """Return what every problem has, and these fields."""
    return {
        "type": f"urn:penstock:problem:{code}",
        "title": _TITLES.get(code, str(code)),
        "status": status,
        "detail": sentence,
        "code": str(code),
        **fields,
    }


def _render(request: web.BaseRequest, status: int, code: Code, error: Exception) -> web.Response:
    if isinstance(error, errors.ServiceError):
        body = describe(error, status)
    else:
        body = members(status, code, str(error))
    headers = {names.ERROR_CODE_HEADER: str(body["code"]), **retry_headers(error, status)}
    return web.Response(
        text=dumps(body), status=status, headers=headers, content_type=names.PROBLEM_JSON
    )


ERRORS = ErrorFormat(_PATHS, _render, _STATUSES)
