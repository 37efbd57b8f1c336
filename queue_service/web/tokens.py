"""Authorization: which service a request is about, and whether its token may do what it asks.

An admitted request holds an `Admission` until it ends: see queue_service/service/admission.py.
Handlers rarely call this: the tables of routes do (`routing.py`).
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

#: The most services that a wrong name is compared with, because comparing takes time.
MOST_COMPARED = 200
_BEARER = "bearer "
#: What the admin token may do with every service, in the words of scopes.
_OF_ADMIN = frozenset((Scope.ADMIN, Scope.ALL, Scope.CANCEL, Scope.READ))
#: The id of a service's own token for its workers; ids of other tokens are hexadecimal.
_WORKERS_ID = "workers"


async def seek(request: web.Request, name: str) -> Service:
    """Return the service with this name, also one that another process has just made.

    Raises NoSuchService, or Unauthorized when the request has no valid token: an existing service
    answers the same, so strangers cannot probe names.
    """
    services = request.app[SERVICES]
    try:
        return services.get(name) or await services.seek(name)
    except NoSuchService:
        # The token may be new as well.
        await services.access.refresh()
        if not _is_known(request):
            raise Unauthorized from None
        raise NoSuchService(name, closest_name(request, name)) from None


async def seek_admitted(request: web.Request, name: str) -> Service:
    """Return the service with this name, for a request whose token is known to be valid."""
    try:
        return await request.app[SERVICES].seek(name)
    except NoSuchService:
        raise NoSuchService(name, closest_name(request, name)) from None


def closest_name(request: web.Request, name: str) -> str:
    """Return the closest name of the services that the token may use; "" when none is close."""
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
    """Say whether the request has a token that is valid for some service."""
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
    """Admit the request to this service if its token has one of the scopes.

    Returns the token, or None for the service's own, which may do everything there.  Raises
    Unauthorized without a valid token, Forbidden when it lacks the scope, and ServiceStopped when
    it would be admitted to a running service.
    """
    token = _checked(request, service, any_of)
    if service.stopped:
        raise ServiceStopped(service.name)
    _hold(request, service, token, lambda known: _allows(known, service, any_of))
    return token


def may(request: web.Request, service: Service, *any_of: Scope) -> bool:
    """Say whether `require_scope` would admit the request, without admitting it."""
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
    """Return the token of the service's workers if this is its text."""
    if not service.admits_worker(text):
        return None
    return Token(
        id=_WORKERS_ID,
        name="",
        # Its workers answer jobs of every owner, and their names belong to no owner.
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
    """Admit the request for as long as its credential is valid."""
    if (earlier := request.get(ADMISSION)) is not None:
        earlier.leave()
    if token is not None and token.id != _WORKERS_ID:
        limit = request.app[SETTINGS].max_requests_per_token
        if (count := _access(request).under_way(token)) >= limit:
            # Each may wait for minutes, and one token must not use up the connections.
            raise QuotaExceeded("requests", limit=limit, count=count)
        request[ADMISSION] = _access(request).admit(token, permits, lambda: cut(request))
    elif service is not None:
        request[ADMISSION] = service.admit(token_text(request), lambda: cut(request))


def hold_admin(request: web.Request) -> None:
    """Admit the admin token, which is valid for as long as the process runs."""
    request[ADMISSION] = Admission("the admin token", set(), lambda: True, lambda: cut(request))


def admission_of(request: web.Request) -> Admission:
    """Return the admission of a request that `require_scope` has admitted."""
    return request[ADMISSION]


def check_admission(request: web.Request) -> None:
    """Raise CredentialEnded when the request's credential has ended."""
    if (admission := request.get(ADMISSION)) is not None:
        admission.check()


@contextlib.asynccontextmanager
async def time_limit(request: web.Request, timeout_s: float) -> AsyncIterator[None]:
    """Raise TimeoutError when the block takes longer; CredentialEnded when the credential ends."""
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
    """Commit to carrying the request out; raises CredentialEnded when it is too late for that.

    Its response only confirms it, and is sent even if the token ends meanwhile.
    """
    if (admission := request.get(ADMISSION)) is not None:
        admission.settle()


async def require_scope_somewhere(request: web.Request, *any_of: Scope) -> Service | Token:
    """Admit the request, before its body is read, if its token has a scope on some service.

    Returns the token, or the service whose own token it is.  Raises Unauthorized or Forbidden.
    """
    services = request.app[SERVICES]
    if (admitted := _admit_somewhere(request, any_of)) is not None:
        return admitted
    # Another process may just have made the service or the token.
    await services.look(None)
    await services.access.refresh()
    if (admitted := _admit_somewhere(request, any_of)) is not None:
        return admitted
    text = token_text(request)
    known = services.access.find(text) or any(one.admits_worker(text) for one in services)
    if not known:
        raise Unauthorized
    raise Forbidden("any service", any_of)


def _admit_somewhere(request: web.Request, any_of: tuple[Scope, ...]) -> Service | Token | None:
    text, wanted = token_text(request), frozenset(any_of)
    token = _access(request).find(text)
    if token is not None and wanted & token.scopes:
        _hold(request, None, token, lambda known: bool(wanted & known.scopes))
        return token
    for service in request.app[SERVICES]:
        if service.admits(text):
            _hold(request, service, None, _nothing)
            return service
    return None


def _nothing(_: Token) -> bool:
    return False


def is_admin(request: web.Request) -> bool:
    """Say whether the request has the admin token."""
    return _is_admin(request, token_text(request))


def is_operator(request: web.Request) -> bool:
    """Say whether `require_admin` would admit the request, without admitting it."""
    text = token_text(request)
    token = _access(request).find(text)
    return _is_admin(request, text) or (token is not None and _is_operators(token))


def scopes_on(request: web.Request, service: Service) -> frozenset[Scope]:
    """Return what the request's token may do with a service.

    The admin token may also look at jobs and cancel them.
    """
    text = token_text(request)
    if service.admits(text):
        return frozenset(Scope)
    token = _access(request).find(text)
    found = frozenset(
        scope
        for scope in (token.scopes if token is not None else ())
        if token is not None and token.allows(scope, service.name, service.incarnation)
    )
    return found | _OF_ADMIN if _is_admin(request, text) else found


def require_admin(request: web.Request) -> None:
    """Admit the admin token, or a token with its scope; raises NoAdmin or Forbidden."""
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


def who_asks(request: web.Request) -> str:
    """Return who asks, for the audit log: the id of a token, "admin", or "service"."""
    text = token_text(request)
    if _is_admin(request, text):
        return "admin"
    token = _access(request).find(text)
    return "service" if token is None else token.id


def token_text(request: web.Request) -> str:
    """Return the token: EAS clients send it alone, all others after `Bearer`."""
    text = request.headers.get("Authorization", "")
    if text[: len(_BEARER)].lower() == _BEARER:
        return text[len(_BEARER) :]
    return text


def _access(request: web.Request) -> Access:
    return request.app[SERVICES].access
