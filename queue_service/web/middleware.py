"""Around every handler: web pages are judged first, and errors become responses at the end."""

import logging

from aiohttp import web

from client_sdk.wire.codes import Code
from client_sdk.wire.errors import WireError
from queue_service import errors
from queue_service.web.address import keep_prefix
from queue_service.web.body import drop_rest_of_body
from queue_service.web.browsers import admit
from queue_service.web.keys import (
    ADDRESSES,
    ADMISSION,
    ERROR_FORMATS,
    HELD,
    METRICS,
    STRANGERS,
)
from queue_service.web.routing import Handler
from queue_service.web.statuses import ErrorWithStatus

log = logging.getLogger(__name__)

#: A body above this size is not written at once: the system takes it as its client reads, in bytes.
LARGE_BYTES = 64 * 1024

#: The status of a request whose client is gone, as gateways log it.
CLIENT_LEFT = 499

#: What the HTTP library itself refuses, in our words.
_LIBRARY_CODES = {404: Code.NOT_FOUND, 413: Code.FRAME_TOO_BIG}


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
    def render(status: int, code: Code, sentence: str) -> web.Response:
        return request.app[ERROR_FORMATS].render(request, status, code, sentence)

    match error:
        case errors.ServiceError():
            return _refuse(request, error)
        case WireError():
            return render(400, Code.BAD_PARAMETER, str(error))
        case web.HTTPException():
            code = _LIBRARY_CODES.get(error.status, Code.BAD_PARAMETER)
            return render(error.status, code, error.reason)
        case RecursionError():
            sentence = "the body: expected JSON, got brackets nested too deep"
            return render(400, Code.BAD_PARAMETER, sentence)
        case ConnectionError():
            # The client left; the answer goes nowhere, and the library need not log that.
            return web.Response(status=CLIENT_LEFT)
        case _:
            log.error("%s %s failed.", request.method, request.path, exc_info=error)
            return render(500, Code.INTERNAL, "the service failed; its log says how")


def _refuse(request: web.Request, error: errors.ServiceError) -> web.Response:
    form = request.app[ERROR_FORMATS].of(request)
    status = form.status_of(error)
    if status == 401:
        request.app[METRICS].wrong_tokens.inc()
        request.app[STRANGERS].note(request.remote or "")
    # An API that chooses 500 itself reports an engine's failure, which is not ours.
    if status == 500 and not isinstance(error, ErrorWithStatus):
        log.error("%s %s failed.", request.method, request.path, exc_info=error)
    response = form.render(request, status, error.code, error)
    if isinstance(error, errors.MethodNotAllowed):
        response.headers["Allow"] = error.allowed
    return response
