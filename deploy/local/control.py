"""The control API of a local mode, on 127.0.0.1: which services it runs.

    GET    /services                    all, with their workers
    GET    /services/{name}
    PUT    /services/{name}             create, with `If-None-Match: *`, or change
    POST   /services/{name}/scale       {"instances": 3}
    POST   /services/{name}/{stop,start,restart}
    DELETE /services/{name}

Its token is in `running.json`, which only its owner can read.  The token lets a client start
programs on this machine; the admin token of the queue service must not allow that.
"""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from pydantic import ValidationError

from client_sdk.browser_guard import keep_pages_out
from client_sdk.wire.browsers import Hosts
from client_sdk.wire.tokens import new_token
from deploy.errors import AdminRefused, DeployError, NoSuchLocalService
from deploy.local.services import LocalServices
from deploy.local.wish import Wish

#: Largest request body.
MAX_WISH_BYTES = 1024 * 1024
#: Most instances of one service, as with PAI EAS.
MOST_INSTANCES = 1000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The API, from `start` to `stop`."""

    def __init__(self, services: LocalServices) -> None:
        self.token = new_token()
        self._services = services
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen on a free port of this machine, and return the URL."""
        no_pages = keep_pages_out(Hosts(), setting="", may_be_linked=False)
        app = web.Application(middlewares=[no_pages, self._guard], client_max_size=MAX_WISH_BYTES)
        app.add_routes(
            [
                web.get("/services", self._list),
                web.get("/services/{name}", self._show),
                web.put("/services/{name}", self._put),
                web.delete("/services/{name}", self._delete),
                web.post("/services/{name}/{verb}", self._change),
            ]
        )
        runner = self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        came = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(came, self.token.encode()):
            return _refusal(401, "UNAUTHORIZED", "expected the token of running.json")
        try:
            return await handler(request)
        except NoSuchLocalService as error:
            return _refusal(404, error.code, str(error))
        except AdminRefused as error:
            return _refusal(error.status, error.code, error.sentence)
        except DeployError as error:
            return _refusal(409, error.code, str(error))
        except ValueError as error:
            return _refusal(400, "BAD_PARAMETER", str(error))

    async def _list(self, _: web.Request) -> web.Response:
        await asyncio.gather(*(one.look() for one in self._services))
        return web.json_response({"services": [one.described() for one in self._services]})

    async def _show(self, request: web.Request) -> web.Response:
        service = self._services.find(request.match_info["name"])
        await service.look()
        return web.json_response(service.described())

    async def _put(self, request: web.Request) -> web.Response:
        fields = await _fields(request) | {"name": request.match_info["name"]}
        try:
            wish = Wish.model_validate(fields)
        except ValidationError as error:
            raise ValueError(f"expected a wish for a service: {error}") from None
        new = request.headers.get("If-None-Match") == "*"
        service = await self._services.put(wish, new=new)
        token = service.wish.token.get_secret_value()
        return web.json_response(service.described() | {"token": token})

    async def _change(self, request: web.Request) -> web.Response:
        name, services = request.match_info["name"], self._services
        match request.match_info["verb"]:
            case "scale":
                instances = (await _fields(request)).get("instances")
                if not isinstance(instances, int) or not 0 <= instances <= MOST_INSTANCES:
                    raise ValueError(
                        f"instances: expected 0 to {MOST_INSTANCES}, got {instances!r}"
                    )
                service = await services.scale(name, instances)
            case "stop":
                service = await services.stop_service(name)
            case "start":
                service = await services.start_service(name)
            case "restart":
                service = await services.restart(name)
            case verb:
                raise ValueError(f"expected scale, stop, start or restart, got {verb!r}")
        return web.json_response(service.described())

    async def _delete(self, request: web.Request) -> web.Response:
        return web.json_response(await self._services.delete(request.match_info["name"]))


async def _fields(request: web.Request) -> dict[str, object]:
    fields = json.loads(await request.text())
    if not isinstance(fields, dict):
        raise ValueError(f"expected an object, got {type(fields).__name__}")
    return fields


def _refusal(status: int, code: str, sentence: str) -> web.Response:
    return web.json_response({"code": code, "message": sentence}, status=status)
