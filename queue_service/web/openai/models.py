"""The models: the services that the token may put to."""

from aiohttp import web

from queue_service.errors import NoSuchService
from queue_service.web.keys import REQUEST_IDS, SERVICES
from queue_service.web.openai import answers
from queue_service.web.openai.refusals import OPENAI_REQUEST_ID
from queue_service.web.routing import CallerSomewhere
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import closest_name, seek_admitted

#: A service has no date that says anything about its model.
CREATED_S = 0


async def list_models(request: web.Request, caller: CallerSomewhere) -> web.Response:
    """List every service that this token may put to."""
    services = request.app[SERVICES]
    names = [service.name for service in services if caller.may_use(service)]
    return json_response(answers.models(names, CREATED_S), headers=_headers(request))


async def show_model(request: web.Request, caller: CallerSomewhere) -> web.Response:
    """Describe one of them."""
    name = request.match_info["model"]
    service = await seek_admitted(request, name)
    if not caller.may_use(service):
        # The same words as for a service that does not exist.
        raise NoSuchService(name, closest_name(request, name))
    return json_response(answers.model(name, CREATED_S), headers=_headers(request))


def _headers(request: web.Request) -> dict[str, str]:
    return {OPENAI_REQUEST_ID: request.app[REQUEST_IDS].next()}
