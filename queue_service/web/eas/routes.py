"""The table of the EAS protocol: one URL for each queue; method and query select the operation."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import NoSuchPath
from queue_service.service.access import Scope
from queue_service.service.file_owners import owner_of
from queue_service.service.service import Service
from queue_service.web.eas import discovery, operations
from queue_service.web.eas.paths import QueuePaths
from queue_service.web.eas.reader import Reader
from queue_service.web.keys import SERVICES
from queue_service.web.parameters import Parameters
from queue_service.web.routing import PUBLIC, Api, Route, answer_expectation
from queue_service.web.tokens import require_scope, seek

_BELOW_SINK = f"{names.SINK}/"
_READS = ("GET", "HEAD")
_ANYTHING = tuple(Scope)

Handler = Callable[[web.Request, Reader, Parameters], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row.

    parameter: the query parameter that selects it; "" for what its methods do without one.
    on_input, on_sink: the scopes of which a token needs one for that queue.
    with_any_value: the parameter selects also with the value `false`.
    lasts: as for `routing.Route`.
    """

    name: str
    methods: tuple[str, ...]
    parameter: str
    on_input: tuple[Scope, ...]
    on_sink: tuple[Scope, ...]
    handler: Handler
    with_any_value: bool = False
    lasts: bool = False

    def is_selected(self, parameters: Parameters) -> bool:
        """Say whether the query selects this operation.

        A value that is neither true nor false does, so that it is refused only after the token has
        been checked: a stranger must not learn from a 400 that the service exists.
        """
        if not self.parameter:
            return True
        if self.parameter not in parameters:
            return False
        return self.with_any_value or parameters.text(self.parameter) != "false"


#: The first row that matches wins.  The sink belongs to its readers; the input queue takes
#: entries from those who submit and gives them to those who work.  Every token of the service
#: may read how long a queue is.
OPERATIONS = (
    Operation(
        "end_stream",
        ("POST",),
        names.END_OF_STREAM,
        (Scope.CANCEL,),
        (Scope.READ,),
        operations.end_stream,
        with_any_value=True,
    ),
    Operation("put", ("POST",), "", (Scope.SUBMIT,), (Scope.WORK,), operations.put, lasts=True),
    Operation("attributes", _READS, names.ATTRIBUTES, _ANYTHING, _ANYTHING, operations.attributes),
    Operation("search", _READS, names.SEARCH, _ANYTHING, _ANYTHING, operations.search),
    Operation("count", _READS, names.COUNT, _ANYTHING, _ANYTHING, operations.count),
    Operation(
        "watch", _READS, names.WATCH, (Scope.WORK,), (Scope.READ,), operations.watch, lasts=True
    ),
    Operation("get", _READS, "", (Scope.WORK,), (Scope.READ,), operations.get, lasts=True),
    Operation(
        "reject",
        ("PUT",),
        names.NEGATIVE,
        (Scope.WORK,),
        (Scope.READ,),
        operations.reject,
        lasts=True,
    ),
    Operation("commit", ("PUT",), "", (Scope.WORK,), (Scope.READ,), operations.commit),
    Operation(
        "truncate",
        ("DELETE",),
        names.TRUNCATE,
        (Scope.CANCEL,),
        (Scope.READ,),
        operations.truncate,
    ),
    Operation("delete", ("DELETE",), "", (Scope.CANCEL,), (Scope.READ,), operations.delete),
)
#: Any other method, which is refused once the token is known.
_OTHER = Operation("other", (), "", (Scope.WORK,), (Scope.READ,), operations.refuse_method)

_BY_METHOD = {
    method: tuple(one for one in OPERATIONS if method in one.methods)
    for method in ("POST", "GET", "HEAD", "PUT", "DELETE")
}

API = Api((Route("GET", names.DISCOVERY_PATH, PUBLIC, discovery.upstreams),))


def operation_of(method: str, parameters: Parameters) -> Operation:
    """Return the operation that method and query select."""
    for row in _BY_METHOD.get(method, ()):
        if row.is_selected(parameters):
            return row
    return _OTHER


def queue_paths(*, bare: bool) -> list[web.AbstractRouteDef]:
    """The URLs of the queues.  bare: the first service at the root as well."""
    paths: list[web.AbstractRouteDef] = [QueuePaths(_serve_queue)]
    if bare:
        paths += [
            web.route("*", path, _serve_bare, expect_handler=answer_expectation)
            for path in ("/", "/{suffix:.+}")
        ]
    return paths


async def _serve_queue(request: web.Request) -> web.StreamResponse:
    """Serve `/api/predict/{service}` and everything below it."""
    if request.method == "OPTIONS":
        return web.Response(status=204, headers={"Allow": operations.ALLOWED})
    name = request.match_info["service"]
    service = request.app[SERVICES].get(name) or await seek(request, name)
    return await _serve(request, service, request.match_info["suffix"])


async def _serve_bare(request: web.Request) -> web.StreamResponse:
    """Serve the first service at the root, where a gateway has removed the prefix."""
    service = request.app[SERVICES].first()
    if service is None:
        raise NoSuchPath(request.path)
    return await _serve(request, service, request.match_info.get("suffix", ""))


async def _serve(request: web.Request, service: Service, suffix: str) -> web.StreamResponse:
    path = suffix.strip("/")
    queue, is_sink = service.input, False
    if path == names.SINK or path.startswith(_BELOW_SINK):
        queue, is_sink, path = service.sink, True, path[len(_BELOW_SINK) :]
    parameters = Parameters(request)
    operation = operation_of(request.method, parameters)
    scopes = operation.on_sink if is_sink else operation.on_input
    token = require_scope(request, service, *scopes)
    if operation.parameter and not operation.with_any_value:
        # It is present and not `false`; anything but `true` is refused here.
        parameters.flag(operation.parameter)
    files_of = owner_of(token or service)
    return await operation.handler(request, Reader.of(queue, token, path, files_of), parameters)
