"""Around every handler: checks web pages first, and turns errors into responses at the end."""

import logging

from aiohttp import web

from client_sdk.wire import names
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
from queue_service.web.strict_json import TOO_DEEP

log = logging.getLogger(__name__)

#: A body above this size may take as long to write as its client takes to read it, in bytes.
LARGE_BYTES = 64 * 1024

#: The status of a request whose client has disconnected, as gateways log it.
CLIENT_LEFT = 499

#: The codes of what the HTTP library itself refuses.
_LIBRARY_CODES = {404: Code.NOT_FOUND, 413: Code.FRAME_TOO_BIG}


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into a response with a code and a sentence.

    A request whose credential has ended gets no other response than that.
    """
    try:
        keep_prefix(request, request.app[ADDRESSES])
        # None for all but a page's preflight; raises for a page that may not ask.
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
        # A response that has begun can only be cut: a second one inside it would be read as a part
        # of the first.
        request.transport.close()
    return response


async def _hand_over(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Return the response if it may be written; raises CredentialEnded if not."""
    admission = request.get(ADMISSION)
    if admission is None or response.prepared:
        return response
    if not admission.settled:
        admission.check()
    if (response.content_length or 0) > LARGE_BYTES:
        # A slow client would read it long after this function has returned.  Written here, it is
        # cut when the credential ends.
        await response.prepare(request)
        await response.write_eof()
    return response


def _allowed(request: web.Request, error: Exception) -> Exception:
    """Return the error to show: its text may hold what only a valid credential may read."""
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
            # The parsers of bodies raise it, and none of them catches it.
            sentence = f"the body: expected JSON, got {TOO_DEEP}"
            return render(400, Code.BAD_PARAMETER, sentence)
        case ConnectionError():
            # The client disconnected: nobody gets this response, and the library logs nothing.
            return web.Response(status=CLIENT_LEFT)
        case _:
            log.error("%s %s failed.", request.method, request.path, exc_info=error)
            return render(500, Code.INTERNAL, "the service failed; see its log")


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
    if isinstance(error, errors.NoSuchService) and error.meant:
        response.headers[names.MEANT_HEADER] = error.meant
    return response
