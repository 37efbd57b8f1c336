"""Who may come in."""

import hashlib
import hmac

from aiohttp import web

from queue_service.access import Access, Scope, Token, putter_of
from queue_service.errors import Forbidden, NoAdmin, ServiceStopped, Unauthorized
from queue_service.service import Service
from queue_service.store.putter import Putter
from queue_service.web.keys import SERVICES, SETTINGS

_BEARER = "bearer "


def require_scope(request: web.Request, service: Service, *any_of: Scope) -> Token | None:
    """Raise unless the request may do one of these on this service.

    Returns the token that it carries, or None for the service's own, which may do everything
    there.  Raises Unauthorized for no token or an unknown one, Forbidden for one that is known
    and may not do this, and ServiceStopped to whoever could do it otherwise.
    """
    token = _admitted(request, service, any_of)
    if service.stopped:
        raise ServiceStopped(service.name)
    return token


def _admitted(request: web.Request, service: Service, any_of: tuple[Scope, ...]) -> Token | None:
    text = token_text(request)
    if service.admits(text):
        return None
    token = _access(request).find(text)
    if token is None:
        raise Unauthorized
    if not any(token.allows(scope, service.name) for scope in any_of):
        raise Forbidden(service.name, any_of)
    return token


async def require_scope_somewhere(request: web.Request, scope: Scope) -> None:
    """Raise unless the request may do this on some service: before more of it is read.

    Raises Unauthorized or Forbidden.
    """
    services = request.app[SERVICES]
    if _may_somewhere(request, scope):
        return
    # Another process may have made the service, or the token, a moment ago.
    await services.look(None)
    await services.access.refresh()
    if not _may_somewhere(request, scope):
        if services.access.find(token_text(request)) is None:
            raise Unauthorized
        raise Forbidden("any service", (scope,))


def _may_somewhere(request: web.Request, scope: Scope) -> bool:
    text = token_text(request)
    token = _access(request).find(text)
    if token is not None and scope in token.scopes:
        return True
    return any(service.admits(text) for service in request.app[SERVICES])


def putter_with(service: Service, token: Token | None) -> Putter | None:
    """Who puts with this token into the service; None, in both, is the service's own."""
    return None if token is None else putter_of(token, fair=service.description.settings.fair)


def require_admin(request: web.Request) -> None:
    """Raise NoAdmin or Forbidden unless the request carries the admin token or one with its
    scope."""
    text = token_text(request)
    wanted = request.app[SETTINGS].admin_token.get_secret_value()
    came = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    if wanted and hmac.compare_digest(came, hashlib.sha256(wanted.encode()).digest()):
        return
    token = _access(request).find(text)
    if token is None:
        raise NoAdmin
    if Scope.ADMIN not in token.scopes or token.services:
        raise Forbidden("every service", (Scope.ADMIN,))


def token_text(request: web.Request) -> str:
    """The token as EAS clients send it, bare, or as everybody else does, after `Bearer`."""
    text = request.headers.get("Authorization", "")
    if text[: len(_BEARER)].lower() == _BEARER:
        return text[len(_BEARER) :]
    return text


def _access(request: web.Request) -> Access:
    return request.app[SERVICES].access
