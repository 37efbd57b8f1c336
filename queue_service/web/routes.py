"""All tables in one: every route of every API."""

from aiohttp import web

from queue_service.errors import MethodNotAllowed, NoSuchPath
from queue_service.service.access import Scope
from queue_service.settings.process import Settings
from queue_service.web.admin import routes as admin
from queue_service.web.batches import routes as batches
from queue_service.web.chat import routes as chat
from queue_service.web.console import routes as console
from queue_service.web.eas import routes as eas
from queue_service.web.error_formats import ErrorFormats
from queue_service.web.files import routes as files
from queue_service.web.jobs import interface, openapi
from queue_service.web.jobs import routes as jobs
from queue_service.web.jobs.interface_document import of_service
from queue_service.web.keys import ADDRESSES
from queue_service.web.openai import routes as openai
from queue_service.web.overview import routes as overview
from queue_service.web.routing import PUBLIC, Caller, OnService, Route, answer_expectation
from queue_service.web.strict_json import json_response
from queue_service.web.try_page import routes as try_page
from queue_service.web.worker import routes as worker

#: Hints for paths that do not exist, by how they begin.
_HINTS = {
    "/chat/": "the OpenAI API begins with /v1; the chat page is /chat",
    "/completions": "the OpenAI API begins with /v1",
    "/embeddings": "the OpenAI API begins with /v1",
    "/models": "the OpenAI API begins with /v1",
    "/try/": "the page for trying a service is /try/{service}",
    "/v1/": "/openapi.json describes what is there",
    "/predict": "queues are at /api/predict/{service} and /api/predict/{service}/sink",
}


async def show_openapi(request: web.Request) -> web.Response:
    """Answer with the OpenAPI document."""
    here = request.app[ADDRESSES].of(request)
    return json_response({**openapi.document(TABLE), "servers": [{"url": here.url("")}]})


async def show_service_openapi(request: web.Request, caller: Caller) -> web.Response:
    """Answer with the OpenAPI document of one service's jobs, with its schema."""
    newest = await caller.service.interfaces.newest()
    declared, version = (newest.document, newest.digest) if newest else ({}, "")
    described = of_service(openapi.document(TABLE), caller.service.name, declared, version)
    here = request.app[ADDRESSES].of(request)
    return json_response({**described, "servers": [{"url": here.url("")}]})


_SERVICE = "/v1/services/{service}"
#: Clients that put jobs or read results.
_CLIENTS = (Scope.SUBMIT, Scope.READ)
_APIS = (
    *(admin.API, jobs.API, openai.API, files.API, batches.API),
    *(overview.API, console.API, chat.API, try_page.API, worker.API, eas.API),
)
#: Every route but those of the queues, which `eas.OPERATIONS` has.
TABLE = (
    *(route for api in _APIS for route in api.routes),
    Route("GET", "/openapi.json", PUBLIC, show_openapi),
    Route("GET", f"{_SERVICE}/openapi.json", OnService(*_CLIENTS), show_service_openapi),
    Route("GET", f"{_SERVICE}/schema", OnService(*_CLIENTS), interface.get_schema),
)
#: How each API writes errors.
ERROR_FORMATS = ErrorFormats(api.errors for api in _APIS if api.errors is not None)


def routes(settings: Settings) -> list[web.AbstractRouteDef]:
    """Return the routes in the order in which they are tried."""
    listed: list[web.AbstractRouteDef] = [
        *(route.definition() for route in TABLE if _is_served(route, settings)),
        *eas.queue_paths(bare=settings.bare_mount),
    ]
    if not settings.bare_mount:
        # A bare mount takes these paths for the queues of its service.
        listed.append(web.route("*", "/{path:.*}", refuse, expect_handler=answer_expectation))
    return listed


def _is_served(route: Route, settings: Settings) -> bool:
    """A bare mount takes the root for the queues of its service."""
    return route.path != console.ROOT or not settings.bare_mount


async def refuse(request: web.Request) -> web.StreamResponse:
    """Answer for paths that do not exist, and for methods that a path does not have."""
    if allowed := await _methods_at(request):
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": allowed})
        raise MethodNotAllowed(request.method, allowed)
    hint = next((hint for start, hint in _HINTS.items() if request.path.startswith(start)), "")
    raise NoSuchPath(request.path, hint=hint)


async def _methods_at(request: web.Request) -> str:
    """Return the methods of a path, comma-separated; "" when there is no such path."""
    methods: set[str] = set()
    for resource in request.app.router.resources():
        _, known = await resource.resolve(request)
        methods |= known
    # The route of `refuse` itself takes every method.
    methods.discard("*")
    return ", ".join(sorted(methods | {"OPTIONS"})) if methods else ""
