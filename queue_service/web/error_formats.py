"""How errors are written: each API registers its format; all other paths answer in plain text."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from queue_service.errors import ServiceError
from queue_service.web.statuses import Statuses, status_of
from queue_service.web.strict_json import json_response

#: Writes an error: the request, the status, the code, and the error whose text is the sentence.
Render = Callable[[web.BaseRequest, int, Code, Exception], web.Response]


@dataclass(frozen=True, slots=True)
class ErrorFormat:
    """How one API writes its errors.

    paths: where they are written like this.  A path, not a route, decides: what is below the API's
        paths and does not exist is answered in its format too, and so is a request that is refused
        before it has a route.
    statuses: where this API's status differs from `statuses.STATUS`.
    """

    paths: re.Pattern[str]
    render: Render
    statuses: Statuses | None = None

    def status_of(self, error: ServiceError) -> int:
        """Return the status of an error in this API."""
        return status_of(error, self.statuses)


def _render_plain(
    request: web.BaseRequest, status: int, code: Code, error: Exception
) -> web.Response:
    """Write JSON for a client that asks for JSON, else a line of text."""
    headers = {names.ERROR_CODE_HEADER: code}
    if names.JSON in request.headers.get("Accept", ""):
        body = {"code": code, "message": str(error)}
        return json_response(body, status=status, headers=headers)
    return web.Response(text=str(error), status=status, headers=headers)


PLAIN = ErrorFormat(re.compile(""), _render_plain)


class ErrorFormats:
    """The formats of all APIs, chosen by path."""

    def __init__(self, formats: Iterable[ErrorFormat]) -> None:
        self._formats = (*formats, PLAIN)

    def of(self, request: web.BaseRequest) -> ErrorFormat:
        """Return the format for this request."""
        return next(one for one in self._formats if one.paths.match(request.path))

    def render(
        self, request: web.BaseRequest, status: int, code: Code, sentence: str
    ) -> web.Response:
        """Write an error that has no type of its own."""
        return self.of(request).render(request, status, code, Exception(sentence))
