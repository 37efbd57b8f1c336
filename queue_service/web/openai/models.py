"""The models that one may ask: the services, for whoever may put there."""

from aiohttp import web

from queue_service.access import Scope
from queue_service.errors import Forbidden, NoSuchService, ServiceStopped, Unauthorized
from queue_service.service import Service
from queue_service.web.keys import SERVICES
from queue_service.web.openai import answers
from queue_service.web.tokens import require_scope

#: Services have no date of their own that says anything about their model.
CREATED_S = 0


async def list_models(request: web.Request) -> web.Response:
    """Every service that this token may put to; 401 when there is none."""
    services = request.app[SERVICES]
    every = list(services)
    names = [service.name for service in every if _may_ask(request, service)]
    if every and not names:
        raise Unauthorized
    return web.json_response(answers.models(names, CREATED_S))


async def show_model(request: web.Request) -> web.Response:
    """One of them."""
    name = request.match_info["model"]
    service = await request.app[SERVICES].seek(name)
    if not _may_ask(request, service):
        raise NoSuchService(name)
    return web.json_response(answers.model(name, CREATED_S))


def _may_ask(request: web.Request, service: Service) -> bool:
    try:
        require_scope(request, service, Scope.SUBMIT)
    except (Unauthorized, Forbidden, ServiceStopped):
        return False
    return True
