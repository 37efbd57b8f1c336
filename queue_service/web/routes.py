"""Every route of every face, in one list."""

from collections.abc import Iterable

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import NoSuchPath
from queue_service.services import Service
from queue_service.settings import Settings
from queue_service.web import admin, dead_letters, discovery, eas, token_admin, work


def routes(settings: Settings, services: Iterable[Service]) -> list[web.RouteDef]:
    """The routes in the order in which they are tried."""
    listed = [
        web.get("/healthz", admin.healthz),
        web.get("/readyz", admin.readyz),
        web.get("/metrics", admin.metrics),
        web.get("/v1/services", admin.list_services),
        web.get("/v1/services/{service}", admin.show_service),
        web.get("/v1/tokens", token_admin.list_tokens),
        web.post("/v1/tokens", token_admin.make_token),
        web.delete("/v1/tokens/{token}", token_admin.revoke_token),
        *dead_letters.routes(),
        web.get(names.WORK_PATH, work.serve_work),
        web.get(names.DISCOVERY_PATH, discovery.upstreams),
        # A plain path is found by one look; matching a pattern costs a tenth of a put.
        *(
            web.route("*", f"{names.EAS_PREFIX}/{service.name}{path}", eas.serve(service, suffix))
            for service in services
            for path, suffix in (("", ""), (f"/{names.SINK}", names.SINK))
        ),
        web.route("*", names.EAS_PREFIX + "/{service}", eas.serve_queue),
        web.route("*", names.EAS_PREFIX + "/{service}/{suffix:.*}", eas.serve_queue),
    ]
    if settings.bare_mount:
        listed += [
            web.route("*", "/", eas.serve_bare),
            web.route("*", "/{suffix:.+}", eas.serve_bare),
        ]
    else:
        listed.append(web.route("*", "/{path:.*}", nothing_here))
    return listed


async def nothing_here(request: web.Request) -> web.StreamResponse:
    """Answer for every path that nobody serves."""
    raise NoSuchPath(request.path)
