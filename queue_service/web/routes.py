"""Every route of every face, in one list."""

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import MethodNotAllowed, NoSuchPath
from queue_service.settings.process import Settings
from queue_service.web.admin import dead_letters, workers
from queue_service.web.admin import health as admin
from queue_service.web.admin import services as service_admin
from queue_service.web.admin import tokens as token_admin
from queue_service.web.chat import routes as chat
from queue_service.web.eas import discovery
from queue_service.web.eas import operations as eas
from queue_service.web.eas.paths import QueuePaths
from queue_service.web.jobs import routes as jobs
from queue_service.web.middleware import answer_expectation
from queue_service.web.openai import routes as openai
from queue_service.web.work import session as work

#: What was probably meant, by how the path begins.
_HINTS = {
    "/chat/": "the OpenAI face begins with /v1; the chat page is /chat",
    "/completions": "the OpenAI face begins with /v1",
    "/embeddings": "the OpenAI face begins with /v1",
    "/models": "the OpenAI face begins with /v1",
    "/v1/": "/openapi.json describes what is there",
    "/predict": "queues are at /api/predict/{service} and /api/predict/{service}/sink",
}
_ROOT_HINT = (
    "/chat is a page for people, /openapi.json describes the jobs API, /healthz tells health"
)


def routes(settings: Settings) -> list[web.AbstractRouteDef]:
    """The routes in the order in which they are tried."""
    listed: list[web.AbstractRouteDef] = [
        web.get("/healthz", admin.healthz),
        web.get("/readyz", admin.readyz),
        web.get("/metrics", admin.metrics),
        web.get("/v1/services", service_admin.list_services),
        web.get("/v1/services/{service}", service_admin.show_service),
        web.put("/v1/services/{service}", service_admin.put_service),
        web.delete("/v1/services/{service}", service_admin.delete_service),
        web.post("/v1/services/{service}/stop", service_admin.stop_service),
        web.post("/v1/services/{service}/start", service_admin.start_service),
        web.get("/v1/tokens", token_admin.list_tokens),
        web.post("/v1/tokens", token_admin.make_token),
        web.delete("/v1/tokens/{token}", token_admin.revoke_token),
        *dead_letters.routes(),
        *jobs.routes(),
        *openai.routes(),
        *chat.routes(),
        web.get(names.WORK_PATH, work.serve_work),
        web.get(names.WORKERS_PATH, workers.list_workers),
        web.get(names.DISCOVERY_PATH, discovery.upstreams),
        QueuePaths(eas.serve_queue),
    ]
    if settings.bare_mount:
        listed += [
            web.route("*", "/", eas.serve_bare),
            web.route("*", "/{suffix:.+}", eas.serve_bare),
        ]
    else:
        listed.append(web.route("*", "/{path:.*}", nothing_here))
    for route in listed:
        if isinstance(route, web.RouteDef):
            route.kwargs["expect_handler"] = answer_expectation
    return listed


async def nothing_here(request: web.Request) -> web.StreamResponse:
    """Answer for every path that nobody serves, and for methods that a path does not know."""
    if allowed := await _methods_at(request):
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": allowed})
        raise MethodNotAllowed(request.method, allowed)
    hint = next((hint for start, hint in _HINTS.items() if request.path.startswith(start)), "")
    raise NoSuchPath(request.path, hint=_ROOT_HINT if request.path == "/" else hint)


async def _methods_at(request: web.Request) -> str:
    """The methods of a path that is served, with commas between them; "" for no such path."""
    methods: set[str] = set()
    for resource in request.app.router.resources():
        _, known = await resource.resolve(request)
        methods |= known
    # The route of this very answer takes every method.
    methods.discard("*")
    return ", ".join(sorted(methods | {"OPTIONS"})) if methods else ""
