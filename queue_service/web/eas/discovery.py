"""Where a client of type DIRECT finds the addresses at which a service is served.

It asks without a token, every few seconds, and then speaks to `ip:port` as to the gateway.
"""

from aiohttp import web

from queue_service.errors import NoSuchPath
from queue_service.settings.process import Settings
from queue_service.web.keys import SETTINGS
from queue_service.web.strict_json import json_response


async def upstreams(request: web.Request) -> web.Response:
    """List the addresses of one service, each with its weight.

    They are the same for every name.  Whether the service exists, only its token tells.
    """
    addresses = _told(request.app[SETTINGS]) or [_own_address(request)]
    items = [{"ip": host, "port": port, "weight": 100} for host, port in addresses]
    return json_response({"endpoints": {"items": items}})


def _told(settings: Settings) -> list[tuple[str, int]]:
    parts = [part.strip().rpartition(":") for part in settings.direct_endpoints.split(",")]
    return [(host, int(port)) for host, _, port in parts if host]


def _own_address(request: web.Request) -> tuple[str, int]:
    """The address at which this very request has arrived: its client can reach that one."""
    name = request.get_extra_info("sockname")
    if not isinstance(name, tuple):
        raise NoSuchPath(request.path)
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return host, name[1]
