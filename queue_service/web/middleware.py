"""From an error to an answer: the one table, for every face."""

import logging
import re
from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, web

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from client_sdk.wire.errors import WireError
from queue_service import errors
from queue_service.web.address import keep_prefix
from queue_service.web.body import drop_rest_of_body
from queue_service.web.browsers import admit
from queue_service.web.jobs import problem
from queue_service.web.keys import ADDRESSES, ADMISSION, HELD, METRICS, STRANGERS
from queue_service.web.openai import refusals
from queue_service.web.strict_json import json_response
from queue_service.web.upgrade import UpgradeRequired

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: No answer carries Retry-After: the EAS SDK's HTTP library obeys it with 36 requests for one.
STATUS: dict[type[errors.ServiceError], int] = {
    errors.BadParameter: 400,
    UpgradeRequired: 426,
    errors.Unauthorized: 401,
    errors.NoAdmin: 401,
    errors.CredentialEnded: 401,
    errors.Forbidden: 403,
    errors.HostNotAllowed: 421,
    errors.OriginNotAllowed: 403,
    errors.NoSuchService: 404,
    errors.ServiceStopped: 503,
    errors.ServiceFixed: 409,
    errors.RevisionChanged: 412,
    errors.NoSuchEntry: 404,
    errors.NoSuchToken: 404,
    errors.NoSuchDeadLetter: 404,
    errors.RequestIdInUse: 409,
    errors.NotInLineYet: 409,
    errors.ForeignEntry: 409,
    errors.AmbiguousId: 409,
    errors.NoSuchPath: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.SlowBody: 408,
    errors.FrameTooBig: 413,
    errors.QueueFull: 429,
    errors.QuotaExceeded: 429,
    errors.TooMuchAtOnce: 429,
    errors.BuffersFull: 503,
    errors.UnknownEncoding: 415,
    errors.QueueEnded: 409,
    errors.LeaseLost: 409,
    errors.Draining: 503,
    errors.StoreUnavailable: 503,
    errors.OutcomeUnknown: 503,
    errors.NewerFormat: 503,
    errors.StoreError: 500,
}

#: A body above this size is not written at once: the system takes it as its client reads, in bytes.
LARGE_BYTES = 64 * 1024

#: The status of a request whose client is gone, as gateways log it.
CLIENT_LEFT = 499

#: What the HTTP library itself refuses, in our words.
_LIBRARY_CODES = {404: Code.NOT_FOUND, 413: Code.FRAME_TOO_BIG}


#: The paths whose errors are problem details.
_PROBLEM_PATHS = re.compile(r"/v1/services/[^/]+/jobs(?:/|$)")


def wants_problem(request: web.BaseRequest) -> bool:
    """Say whether errors of this request are answered as problem details."""
    return _PROBLEM_PATHS.match(request.path) is not None


def status_of(request: web.BaseRequest, error: errors.ServiceError) -> int:
    """The status of an error on the face that was asked."""
    if wants_problem(request):
        return problem.status_of(error, STATUS.get(type(error), 500))
    return STATUS[type(error)] if not isinstance(error, refusals.Refused) else error.status


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into an answer with a code and a sentence.

    Nothing is answered to a request whose credential has ended, except that.
    """
    try:
        keep_prefix(request, request.app[ADDRESSES])
        # For all but a page's preflight this is None; what is not to be answered raises.
        if (preflight := admit(request)) is not None:
            return preflight
        return await _hand_over(request, await handler(request))
    except Exception as error:
        response = _response_to(request, _allowed(request, error))
    finally:
        if (admission := request.get(ADMISSION)) is not None:
            admission.leave()
        if (held := request.get(HELD)) is not None:
            held.release()
        drop_rest_of_body(request)
    if request.writer.output_size and request.transport is not None:
        # An answer that has begun can only be broken off: another one within it would be taken
        # for a piece of it.
        request.transport.close()
    return response


async def _hand_over(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Give the response back when it may be written; raises CredentialEnded when not."""
    admission = request.get(ADMISSION)
    if admission is None or response.prepared:
        return response
    if not admission.settled:
        admission.check()
    if (response.content_length or 0) > LARGE_BYTES:
        # A slow reader would take it long after this function has returned. It is written here,
        # where the end of the credential can still cut the connection.
        await response.prepare(request)
        await response.write_eof()
    return response


def _allowed(request: web.Request, error: Exception) -> Exception:
    """The error to answer with: its text may hold what only a valid credential may read."""
    admission = request.get(ADMISSION)
    if admission is None or not admission.ended or admission.settled:
        return error
    return error if isinstance(error, ConnectionError) else errors.CredentialEnded()


def _response_to(request: web.Request, error: Exception) -> web.StreamResponse:
    match error:
        case errors.ServiceError():
            return _refuse(request, error)
        case WireError():
            return render(request, 400, Code.BAD_PARAMETER, str(error))
        case web.HTTPException():
            code = _LIBRARY_CODES.get(error.status, Code.BAD_PARAMETER)
            return render(request, error.status, code, error.reason)
        case RecursionError():
            sentence = "the body: expected JSON, got brackets nested too deep"
            return render(request, 400, Code.BAD_PARAMETER, sentence)
        case ConnectionError():
            # The client left; the answer goes nowhere, and the library need not log that.
            return web.Response(status=CLIENT_LEFT)
        case _:
            log.error("%s %s failed.", request.method, request.path, exc_info=error)
            return render(request, 500, Code.INTERNAL, "the service failed; its log says how")


async def answer_expectation(request: web.Request) -> web.StreamResponse | None:
    """Answer an `Expect` header, which the library's own way fails on when it is no text."""
    expected = request.headers.get("Expect", "")
    if expected.lower() != "100-continue":
        came = expected.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:64]
        sentence = f"Expect: expected 100-continue or nothing, got {came!r}"
        return render(request, 417, Code.BAD_PARAMETER, sentence)
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return None


def _refuse(request: web.Request, error: errors.ServiceError) -> web.Response:
    status = status_of(request, error)
    if status == 401:
        request.app[METRICS].wrong_tokens.inc()
        request.app[STRANGERS].note(request.remote or "")
    if status == 500 and not isinstance(error, refusals.Refused):
        log.error("%s %s failed.", request.method, request.path, exc_info=error)
    if refusals.is_ours(request):
        response = refusals.render(status, error, error.code)
    elif wants_problem(request):
        described = problem.describe(error, status)
        response = problem.render(status, described, problem.headers_of(error))
    else:
        response = render(request, status, error.code, str(error))
    if isinstance(error, errors.MethodNotAllowed):
        response.headers["Allow"] = error.allowed
    return response


def render(request: web.BaseRequest, status: int, code: Code, sentence: str) -> web.Response:
    """Write an error: JSON to whoever asks for JSON, a line of text to everybody else."""
    if refusals.is_ours(request):
        return refusals.render(status, Exception(sentence), code)
    if wants_problem(request):
        return problem.render(status, problem.members(status, code, sentence))
    headers = {names.ERROR_CODE_HEADER: code}
    if names.JSON in request.headers.get("Accept", ""):
        return json_response({"code": code, "message": sentence}, status=status, headers=headers)
    return web.Response(text=sentence, status=status, headers=headers)
