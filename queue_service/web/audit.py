"""Writes an entry of the audit log for each change that an operator was admitted to ask for."""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from queue_service.errors import (
    Forbidden,
    NoAdmin,
    NoSuchService,
    ServiceError,
    StoreUnavailable,
    Unauthorized,
)
from queue_service.store.audit import Audited
from queue_service.web.keys import ADDRESSES, AUDIT, AUDIT_ABOUT, ERROR_FORMATS
from queue_service.web.tokens import is_operator, who_asks

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: The most characters of a path that an entry keeps.
MAX_PATH_LENGTH = 512
#: Requests that were not admitted get no entry: else anyone could fill the log.
_NOT_ADMITTED = (Unauthorized, Forbidden, NoAdmin)


def audited(handler: Handler, route: str) -> Handler:
    """Return a handler that writes an entry with the status, also when the change was refused."""

    async def answer(request: web.Request) -> web.StreamResponse:
        # Before: a token may revoke itself.
        who, of_operator = who_asks(request), is_operator(request)
        try:
            response = await handler(request)
        except _NOT_ADMITTED:
            raise
        except NoSuchService as error:
            # Every valid token gets this answer, before it is known what the token may do.
            if of_operator:
                await _write_error(request, route, who, error)
            raise
        except ServiceError as error:
            await _write_error(request, route, who, error)
            raise
        except Exception:
            await _write(request, route, who, 500)
            raise
        await _write(request, route, who, response.status)
        return response

    return answer


async def _write_error(request: web.Request, route: str, who: str, error: ServiceError) -> None:
    await _write(request, route, who, request.app[ERROR_FORMATS].of(request).status_of(error))


async def _write(request: web.Request, route: str, who: str, status: int) -> None:
    entry = Audited(
        who=who,
        remote=request.app[ADDRESSES].client(request),
        method=request.method,
        route=route,
        path=request.rel_url.raw_path_qs[:MAX_PATH_LENGTH],
        service=request.match_info.get("service", ""),
        status=status,
        about=request.get(AUDIT_ABOUT, ""),
    )
    try:
        await request.app[AUDIT].write(entry)
    except StoreUnavailable as error:
        # The change may have been made, and its answer must say so.
        log.error("The audit log lacks an entry, %r: %s", entry, error)
