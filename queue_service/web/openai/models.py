"""The models that one may ask: the services, for whoever may put there."""

from aiohttp import web

from queue_service.errors import NoSuchService
from queue_service.service.access import Scope
from queue_service.service.service import Service
from queue_service.web.keys import SERVICES
from queue_service.web.openai import answers
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import may, meant, require_scope_somewhere, seek_admitted

#: Services have no date of their own that says anything about their model.
CREATED_S = 0


async def list_models(request: web.Request) -> web.Response:
    """Every service that this token may put to; 401 or 403 for who may nowhere."""
    services = request.app[SERVICES]
    if list(services):
        await require_scope_somewhere(request, Scope.SUBMIT)
    names = [service.name for service in services if _may_ask(request, service)]
    return json_response(answers.models(names, CREATED_S))


async def show_model(request: web.Request) -> web.Response:
    """One of them."""
    await require_scope_somewhere(request, Scope.SUBMIT)
    name = request.match_info["model"]
    service = await seek_admitted(request, name)
    if not _may_ask(request, service):
        # Word for word what it would say of one that is not there.
        raise NoSuchService(name, meant(request, name))
    return json_response(answers.model(name, CREATED_S))


def _may_ask(request: web.Request, service: Service) -> bool:
    return may(request, service, Scope.SUBMIT)
