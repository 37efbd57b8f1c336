"""The addresses of a service, for EAS clients of type DIRECT.

They ask every few seconds, without a token, and use `ip:port` as they use the gateway.
"""

from aiohttp import web

from queue_service.errors import NoSuchPath
from queue_service.settings.process import Settings
from queue_service.web.keys import SETTINGS
from queue_service.web.strict_json import json_response


async def upstreams(request: web.Request) -> web.Response:
    """List the addresses of one service, each with its weight.

    They are the same for every name, so that a stranger does not learn which services exist.
    """
    addresses = _configured(request.app[SETTINGS]) or [_own_address(request)]
    items = [{"ip": host, "port": port, "weight": 100} for host, port in addresses]
    return json_response({"endpoints": {"items": items}})


def _configured(settings: Settings) -> list[tuple[str, int]]:
    parts = [part.strip().rpartition(":") for part in settings.direct_endpoints.split(",")]
    return [(host, int(port)) for host, _, port in parts if host]


def _own_address(request: web.Request) -> tuple[str, int]:
    """Return the address at which this request arrived: its client can reach it."""
    name = request.get_extra_info("sockname")
    if not isinstance(name, tuple):
        raise NoSuchPath(request.path)
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return host, name[1]
