"""The admin API for what decides about workers, in the formats of PAI EAS.

`/v1/services/{service}/autoscaler` scales by load, `/v1/services/{service}/cronscaler` by time.
"""

from aiohttp import web
from pydantic import BaseModel

from client_sdk.wire.codes import Code
from queue_service.settings.autoscaler import Autoscaler
from queue_service.settings.cronscaler import Schedule
from queue_service.web.admin.fields import read_fields, to_model
from queue_service.web.keys import ERROR_FORMATS, SERVICES
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import check_admission, seek_admitted

#: The largest body.
MAX_SCALER_BYTES = 64 * 1024


class Scaler:
    """The operations on one of them.

    name: of the setting.  command: of `penstock`, that sets it.
    """

    def __init__(self, name: str, model: type[BaseModel], *, command: str) -> None:
        self._name = name
        self._model = model
        self._command = command

    async def show(self, request: web.Request, caller: Caller) -> web.Response:
        """Show the settings, with the defaults filled in."""
        service = caller.service
        settings: BaseModel | None = getattr(service.description.settings, self._name)
        if settings is not None:
            return json_response(settings.model_dump(mode="json"))
        sentence = (
            f"the service {service.name!r} has no {self._name}; make one with "
            f"`penstock {self._command}` or PUT /v1/services/{service.name}/{self._name}"
        )
        return request.app[ERROR_FORMATS].render(request, 404, Code.NOT_FOUND, sentence)

    async def put(self, request: web.Request) -> web.Response:
        """Replace the settings; an autoscaler obeys at its next decision."""
        name = request.match_info["service"]
        await seek_admitted(request, name)
        fields = await read_fields(request, limit_bytes=MAX_SCALER_BYTES, what="settings")
        wanted = to_model(fields, self._model)
        check_admission(request)
        await request.app[SERVICES].set_scaler(name, self._name, wanted)
        return json_response(wanted.model_dump(mode="json"))

    async def delete(self, request: web.Request) -> web.Response:
        """Remove the settings; the workers stay as they are."""
        name = request.match_info["service"]
        await seek_admitted(request, name)
        await request.app[SERVICES].set_scaler(name, self._name, None)
        return web.Response(status=204)


AUTOSCALER = Scaler("autoscaler", Autoscaler, command="autoscale")
CRONSCALER = Scaler("cronscaler", Schedule, command="cronscale")
