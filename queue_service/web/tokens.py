"""Who may come in.

An admitted request holds an `Admission` until it ends: see queue_service/service/admission.py.
"""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from difflib import get_close_matches
from itertools import islice

from aiohttp import web

from queue_service.errors import (
    Forbidden,
    NoAdmin,
    NoSuchService,
    QuotaExceeded,
    ServiceStopped,
    Unauthorized,
)
from queue_service.service.access import Access, Scope, Token
from queue_service.service.admission import Admission
from queue_service.service.service import Service
from queue_service.web.connection import cut
from queue_service.web.keys import ADMISSION, SERVICES, SETTINGS

#: A wrong name is compared with so many services, as that takes time.
MOST_COMPARED = 200
_BEARER = "bearer "
#: What stands for the id of a service's own token for its workers; those of operators are hex.
_WORKERS_ID = "workers"


async def seek(request: web.Request, name: str) -> Service:
    """The service of this name, be it made a moment ago in another process.

    Raises NoSuchService, but Unauthorized where the request has no valid token: a service that
    exists answers the same, so strangers cannot probe names.
    """
    services = request.app[SERVICES]
    try:
        return services.get(name) or await services.seek(name)
    except NoSuchService:
        # It may be as new as the service could have been.
        await services.access.refresh()
        if not _is_known(request):
            raise Unauthorized from None
        raise NoSuchService(name, meant(request, name)) from None


async def seek_admitted(request: web.Request, name: str) -> Service:
    """The service of this name, for a request whose token is known already."""
    try:
        return await request.app[SERVICES].seek(name)
    except NoSuchService:
        raise NoSuchService(name, meant(request, name)) from None


def meant(request: web.Request, name: str) -> str:
    """The service whose name is closest, of those that the request's token opens; "" for none."""
    text = token_text(request)
    token, is_admin = _access(request).find(text), _is_admin(request, text)
    opened = (
        service.name
        for service in request.app[SERVICES]
        if is_admin
        or service.admits(text)
        or service.admits_worker(text)
        or (token is not None and _allows(token, service, tuple(Scope)))
    )
    return next(iter(get_close_matches(name, islice(opened, MOST_COMPARED), n=1)), "")


def _is_known(request: web.Request) -> bool:
    """Say whether the request carries a token that is valid somewhere; none is not."""
    text = token_text(request)
    return (
        _is_admin(request, text)
        or _access(request).find(text) is not None
        or any(
            service.admits(text) or service.admits_worker(text)
            for service in request.app[SERVICES]
            if not service.is_open
        )
    )


def _is_admin(request: web.Request, text: str) -> bool:
    wanted = request.app[SETTINGS].admin_token.get_secret_value()
    came = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return bool(wanted) and hmac.compare_digest(came, hashlib.sha256(wanted.encode()).digest())


def require_scope(request: web.Request, service: Service, *any_of: Scope) -> Token | None:
    """Raise unless the request may do one of these on this service.

    Returns the token that it carries, or None for the service's own, which may do everything
    there.  Raises Unauthorized for no token or an unknown one, Forbidden for one that is known
    and may not do this, and ServiceStopped to whoever could do it otherwise.
    """
    token = _checked(request, service, any_of)
    if service.stopped:
        raise ServiceStopped(service.name)
    _hold(request, service, token, lambda known: _allows(known, service, any_of))
    return token


def may(request: web.Request, service: Service, *any_of: Scope) -> bool:
    """Say whether the request may do one of these on this service, without admitting it."""
    try:
        _checked(request, service, any_of)
    except (Unauthorized, Forbidden):
        return False
    return not service.stopped


def _checked(request: web.Request, service: Service, any_of: tuple[Scope, ...]) -> Token | None:
    text = token_text(request)
    if service.admits(text):
        return None
    token = _access(request).find(text) or _of_workers(service, text)
    if token is None:
        raise Unauthorized
    if not _allows(token, service, any_of):
        raise Forbidden(service.name, any_of)
    return token


def _allows(token: Token, service: Service, any_of: tuple[Scope, ...]) -> bool:
    return any(token.allows(scope, service.name, service.incarnation) for scope in any_of)


def _of_workers(service: Service, text: str) -> Token | None:
    """The token of the service's workers, if this is its text."""
    if not service.admits_worker(text):
        return None
    return Token(
        id=_WORKERS_ID,
        name="",
        # Its workers answer for everybody, under names of their own.
        scopes=frozenset((Scope.WORK, Scope.ALL)),
        services=frozenset((service.name,)),
        digest="",
        created_at_ms=0,
    )


def _hold(
    request: web.Request,
    service: Service | None,
    token: Token | None,
    permits: Callable[[Token], bool],
) -> None:
    """Let the request go on for as long as what admitted it is valid."""
    if (earlier := request.get(ADMISSION)) is not None:
        earlier.leave()
    if token is not None and token.id != _WORKERS_ID:
        limit = request.app[SETTINGS].max_requests_per_token
        if (count := _access(request).under_way(token)) >= limit:
            # Each may wait for minutes; one token must leave connections for the others.
            raise QuotaExceeded("requests", limit=limit, count=count)
        request[ADMISSION] = _access(request).admit(token, permits, lambda: cut(request))
    elif service is not None:
        request[ADMISSION] = service.admit(token_text(request), lambda: cut(request))


def admission_of(request: web.Request) -> Admission:
    """What the request was admitted by; only for one that `require_scope` has admitted."""
    return request[ADMISSION]


def check_admission(request: web.Request) -> None:
    """Raise CredentialEnded when what admitted the request has ended."""
    if (admission := request.get(ADMISSION)) is not None:
        admission.check()


@contextlib.asynccontextmanager
async def time_limit(request: web.Request, timeout_s: float) -> AsyncIterator[None]:
    """Raise TimeoutError when the block takes longer, and CredentialEnded as soon as that is so."""
    admission = request.get(ADMISSION)
    try:
        async with asyncio.timeout(timeout_s) as limit:

            def stop() -> None:
                if not limit.expired():
                    limit.reschedule(asyncio.get_running_loop().time())

            if admission is not None:
                admission.on_end(stop)
            try:
                yield
            finally:
                if admission is not None:
                    admission.off_end(stop)
    except TimeoutError:
        check_admission(request)
        raise


def settle(request: web.Request) -> None:
    """Say that the request is carried out; raises CredentialEnded when it came too late.

    The answer to what is settled only says so, and goes out even if the token ends meanwhile.
    """
    if (admission := request.get(ADMISSION)) is not None:
        admission.settle()


async def require_scope_somewhere(request: web.Request, scope: Scope) -> None:
    """Raise unless the request may do this on some service: before more of it is read.

    Raises Unauthorized or Forbidden.
    """
    services = request.app[SERVICES]
    if _admit_somewhere(request, scope):
        return
    # Another process may have made the service, or the token, a moment ago.
    await services.look(None)
    await services.access.refresh()
    if not _admit_somewhere(request, scope):
        text = token_text(request)
        known = services.access.find(text) or any(one.admits_worker(text) for one in services)
        if not known:
            raise Unauthorized
        raise Forbidden("any service", (scope,))


def _admit_somewhere(request: web.Request, scope: Scope) -> bool:
    text = token_text(request)
    token = _access(request).find(text)
    if token is not None and scope in token.scopes:
        _hold(request, None, token, lambda known: scope in known.scopes)
        return True
    for service in request.app[SERVICES]:
        if service.admits(text):
            _hold(request, service, None, _nothing)
            return True
    return False


def _nothing(_: Token) -> bool:
    return False


def require_admin(request: web.Request) -> None:
    """Raise NoAdmin or Forbidden unless the request carries the admin token or one with its
    scope."""
    text = token_text(request)
    if _is_admin(request, text):
        return
    token = _access(request).find(text)
    if token is None:
        raise NoAdmin
    if not _is_operators(token):
        raise Forbidden("every service", (Scope.ADMIN,))
    _hold(request, None, token, _is_operators)


def _is_operators(token: Token) -> bool:
    return Scope.ADMIN in token.scopes and not token.services


def token_text(request: web.Request) -> str:
    """The token as EAS clients send it, bare, or as everybody else does, after `Bearer`."""
    text = request.headers.get("Authorization", "")
    if text[: len(_BEARER)].lower() == _BEARER:
        return text[len(_BEARER) :]
    return text


def _access(request: web.Request) -> Access:
    return request.app[SERVICES].access
