"""The admin API for tokens: make, list and revoke them."""

from aiohttp import web

from queue_service.errors import NoSuchToken
from queue_service.service.access import EVERY_SERVICE, WantedToken
from queue_service.web.admin.fields import read_model
from queue_service.web.keys import AUDIT_ABOUT, SERVICES
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import settle

#: The largest description of a token.
MAX_TOKEN_BYTES = 64 * 1024


async def list_tokens(request: web.Request) -> web.Response:
    """List every token, without its text."""
    found = await request.app[SERVICES].access.list()
    return json_response({"tokens": [token.described() for token in found]})


async def make_token(request: web.Request) -> web.Response:
    """Make a token; only this response shows its text."""
    wanted = await read_model(request, WantedToken, limit_bytes=MAX_TOKEN_BYTES)
    wanted = _with_every_service(wanted)
    services = request.app[SERVICES]
    # The token is for these services, and not for later ones with the same names.
    await services.look(None)
    found = {name: services.get(name) for name in wanted.services}
    incarnations = {name: service.incarnation for name, service in found.items() if service}
    token, text = await services.access.make(wanted, incarnations)
    request[AUDIT_ABOUT] = token.id
    return json_response({**token.described(), "token": text}, status=201)


async def revoke_token(request: web.Request) -> web.Response:
    """Revoke a token; its connections end."""
    # A token may revoke itself.
    settle(request)
    token_id = request.match_info["token"]
    if not await request.app[SERVICES].access.revoke(token_id):
        raise NoSuchToken(token_id)
    return web.Response(status=204)


def _with_every_service(wanted: WantedToken) -> WantedToken:
    if EVERY_SERVICE not in wanted.services:
        return wanted
    return wanted.model_copy(update={"services": frozenset()})
