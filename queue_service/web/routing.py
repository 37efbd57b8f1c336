"""A row of an API's table: the route, what a request needs to be admitted, and the handler.

    Route("POST", JOBS_PATH, OnService(Scope.SUBMIT), submit.post_job)

Each requirement wraps the handlers that it is for, and only the wrapped handler is registered, so
no handler runs without its check.  `OnService` hands the handler a `Caller`, which nothing else
makes: a handler that needs one cannot be registered as public.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from aiohttp import HttpVersion11, web

from client_sdk.wire.codes import Code
from queue_service.errors import Draining
from queue_service.service.access import Scope, Token, putter_of, viewer_of
from queue_service.service.file_owners import owner_of
from queue_service.service.files import FileOwner
from queue_service.service.service import Service
from queue_service.store.owners import Viewer
from queue_service.store.putter import Putter
from queue_service.web.audit import audited
from queue_service.web.error_formats import ErrorFormat
from queue_service.web.keys import ERROR_FORMATS, SERVICES
from queue_service.web.tokens import (
    hold_admin,
    is_admin,
    is_operator,
    may,
    require_admin,
    require_scope,
    require_scope_somewhere,
    scopes_on,
    seek,
    seek_admitted,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Caller:
    """An admitted request.

    token: None for the service's own, which may do everything.
    """

    service: Service
    token: Token | None

    @property
    def viewer(self) -> Viewer:
        """Whose jobs it sees and changes."""
        return viewer_of(self.token)

    @property
    def putter(self) -> Putter | None:
        """As whom it puts; None for the service's own token, which has no limits."""
        return None if self.token is None else putter_of(self.token)


class CallerSomewhere:
    """A request with a scope on some service, before it is known which service is meant."""

    def __init__(self, request: web.Request, *any_of: Scope) -> None:
        self._request = request
        self._any_of = any_of

    async def to(self, name: str) -> Caller:
        """Admit it to this service with the scope of the route; raises as `OnService` does."""
        service = await seek_admitted(self._request, name)
        return Caller(service, require_scope(self._request, service, *self._any_of))

    @property
    def is_operator(self) -> bool:
        """Whether it may do everything with every service."""
        return is_operator(self._request)

    def may_use(self, service: Service) -> bool:
        """Say whether it would be admitted to this service."""
        return may(self._request, service, *self._any_of)

    def scopes_on(self, service: Service) -> list[str]:
        """Return the scopes that it has on this service, in alphabetical order."""
        return sorted(str(scope) for scope in scopes_on(self._request, service))


class OperatorSomewhere(CallerSomewhere):
    """A request with the admin token, or a token with its scope: it sees stopped services too."""

    def may_use(self, _: Service) -> bool:
        return True


ServiceHandler = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
FilesHandler = Callable[[web.Request, FileOwner], Awaitable[web.StreamResponse]]
BatchesHandler = Callable[[web.Request, "OwnerSomewhere"], Awaitable[web.StreamResponse]]
SomewhereHandler = Callable[[web.Request, CallerSomewhere], Awaitable[web.StreamResponse]]
AdmittedHandler = Callable[[web.Request, "Service | Token | None"], Awaitable[web.StreamResponse]]
HandlerT = TypeVar("HandlerT")
_HandlerT_contra = TypeVar("_HandlerT_contra", contravariant=True)


class Requirement(Protocol[_HandlerT_contra]):
    """What a request needs to be admitted."""

    @property
    def any_of(self) -> tuple[Scope, ...]:
        """The scopes of which a token needs one; empty when no token is needed."""

    def guard(self, handler: _HandlerT_contra) -> Handler:
        """Return a handler that checks first."""


@dataclass(frozen=True, slots=True)
class Public:
    """Open to everybody, without a token."""

    any_of: tuple[Scope, ...] = ()

    def guard(self, handler: Handler) -> Handler:
        return handler


@dataclass(frozen=True, slots=True)
class Operator:
    """The admin token, or a token with the scope `admin` for every service."""

    any_of: tuple[Scope, ...] = (Scope.ADMIN,)

    def guard(self, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            require_admin(request)
            return await handler(request)

        return answer


class OnService:
    """A token with one of these scopes on the service that the path names as `{service}`."""

    def __init__(self, *any_of: Scope) -> None:
        self.any_of = any_of

    def guard(self, handler: ServiceHandler) -> Handler:
        any_of = self.any_of

        async def answer(request: web.Request) -> web.StreamResponse:
            name = request.match_info["service"]
            service = request.app[SERVICES].get(name) or await seek(request, name)
            return await handler(request, Caller(service, require_scope(request, service, *any_of)))

        return answer


class OnServiceOrOperator(OnService):
    """As `OnService`, or the admin token, which may also ask about a stopped service."""

    def guard(self, handler: ServiceHandler) -> Handler:
        of_service = super().guard(handler)

        async def answer(request: web.Request) -> web.StreamResponse:
            if not is_admin(request):
                return await of_service(request)
            service = await seek_admitted(request, request.match_info["service"])
            hold_admin(request)
            return await handler(request, Caller(service, None))

        return answer


class OnSomeService:
    """A token with one of these scopes on at least one service: the handler finds out on which.

    open_when_empty: needs no token while there is no service.
    refuse_when_draining: send every client to another replica, before its token is checked.
    """

    def __init__(
        self, *any_of: Scope, open_when_empty: bool = False, refuse_when_draining: bool = False
    ) -> None:
        self.any_of = any_of
        self._open_when_empty = open_when_empty
        self._refuse_when_draining = refuse_when_draining

    def guard(self, handler: SomewhereHandler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            services = request.app[SERVICES]
            if self._refuse_when_draining and services.draining:
                raise Draining
            if not self._open_when_empty or list(services):
                await require_scope_somewhere(request, *self.any_of)
            return await handler(request, CallerSomewhere(request, *self.any_of))

        return answer


class OnSomeServiceOrOperator(OnSomeService):
    """As `OnSomeService`, or the admin token."""

    def guard(self, handler: SomewhereHandler) -> Handler:
        of_some = super().guard(handler)

        async def answer(request: web.Request) -> web.StreamResponse:
            if not is_operator(request):
                return await of_some(request)
            require_admin(request)
            return await handler(request, OperatorSomewhere(request, *self.any_of))

        return answer


class OnUsage(OnSomeService):
    """As `OnSomeService`, or an operator: the handler gets who was admitted, None for those."""

    def guard(self, handler: AdmittedHandler) -> Handler:  # type: ignore[override]
        async def answer(request: web.Request) -> web.StreamResponse:
            if is_operator(request):
                require_admin(request)
                return await handler(request, None)
            return await handler(request, await require_scope_somewhere(request, *self.any_of))

        return answer


class OnFiles:
    """A token with one of these scopes on some service: the handler gets whose files it may see.

    refuse_when_draining: send every client to another replica, before its token is checked.
    """

    def __init__(self, *any_of: Scope, refuse_when_draining: bool = False) -> None:
        self.any_of = any_of
        self._refuse_when_draining = refuse_when_draining

    def guard(self, handler: FilesHandler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            if self._refuse_when_draining and request.app[SERVICES].draining:
                raise Draining
            admitted = await require_scope_somewhere(request, *self.any_of)
            return await handler(request, owner_of(admitted))

        return answer


@dataclass(frozen=True, slots=True)
class OwnerSomewhere:
    """An admitted request: whose files and batches it sees, and to which services it may put."""

    owner: FileOwner
    somewhere: CallerSomewhere


class OnBatches:
    """A token that may put to some service: the handler gets its owner, and admits it to one.

    A replica that drains sends every client to another one, before its token is checked.
    """

    any_of = (Scope.SUBMIT,)

    def guard(self, handler: BatchesHandler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            if request.app[SERVICES].draining:
                raise Draining
            admitted = await require_scope_somewhere(request, *self.any_of)
            somewhere = CallerSomewhere(request, Scope.SUBMIT)
            return await handler(request, OwnerSomewhere(owner_of(admitted), somewhere))

        return answer


PUBLIC, OPERATOR = Public(), Operator()


class Route:
    """One row.

    needs: what a request needs to be admitted; it determines what the handler is called with.
    lasts: whether a request may outlive its credential, because it reads a body, waits or streams;
        the handler must then notice the end of the credential.
    is_change: whether it may change what operators decide.  If so, and if it is not a GET, each
        request of an operator gets an entry in the audit log: `is_audited`.
    """

    __slots__ = ("_answer", "is_audited", "lasts", "method", "needs", "path")

    def __init__(
        self,
        method: str,
        path: str,
        needs: Requirement[HandlerT],
        handler: HandlerT,
        *,
        lasts: bool = False,
        is_change: bool = True,
    ) -> None:
        self.method = method
        self.path = path
        self.needs: Requirement[Any] = needs
        self.lasts = lasts
        self.is_audited = is_change and method != "GET" and Scope.ADMIN in needs.any_of
        answer = needs.guard(handler)
        self._answer = audited(answer, self.documented_path) if self.is_audited else answer

    @property
    def documented_path(self) -> str:
        """The path as documents write it: without the patterns of its parts."""
        return self.path.replace(":[^/]+", "")

    def definition(self) -> web.RouteDef:
        """Return the route with its check, for the application's router."""
        kwargs = {"expect_handler": answer_expectation}
        return web.RouteDef(self.method, self.path, self._answer, kwargs)


@dataclass(frozen=True, slots=True)
class Api:
    """One API: its table, and how it writes errors, unless it does so as plain text."""

    routes: tuple[Route, ...]
    errors: ErrorFormat | None = None


async def answer_expectation(request: web.Request) -> web.StreamResponse | None:
    """Answer an `Expect` header; the library's own answer fails when the header is not text."""
    expected = request.headers.get("Expect", "")
    if expected.lower() != "100-continue":
        came = expected.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:64]
        sentence = f"Expect: expected 100-continue or nothing, got {came!r}"
        return request.app[ERROR_FORMATS].render(request, 417, Code.BAD_PARAMETER, sentence)
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return None
