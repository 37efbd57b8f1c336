"""Who may come in."""

import hashlib
import hmac

from aiohttp import web

from queue_service.errors import Unauthorized
from queue_service.services import Service
from queue_service.settings import Settings

_BEARER = "bearer "


def require_service_token(request: web.Request, service: Service) -> None:
    """Raise Unauthorized unless the request carries this service's token."""
    if not service.admits(_token(request)):
        raise Unauthorized


def require_admin_token(request: web.Request, settings: Settings) -> None:
    """Raise Unauthorized unless the request carries the admin token; without one, always."""
    wanted = settings.admin_token.get_secret_value()
    came = hashlib.sha256(_token(request).encode("utf-8", "surrogateescape")).digest()
    if not wanted or not hmac.compare_digest(came, hashlib.sha256(wanted.encode()).digest()):
        raise Unauthorized


def _token(request: web.Request) -> str:
    """The token as EAS clients send it, bare, or as everybody else does, after `Bearer`."""
    token = request.headers.get("Authorization", "")
    if token[: len(_BEARER)].lower() == _BEARER:
        return token[len(_BEARER) :]
    return token
