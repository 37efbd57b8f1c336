"""The paths that are WebSockets and nothing else."""

from aiohttp import web

from client_sdk.wire.codes import Code
from queue_service.errors import ServiceError


class UpgradeRequired(ServiceError):
    """The path is a WebSocket's, and the request asked for none."""

    code = Code.UPGRADE_REQUIRED

    def __init__(self, came: str) -> None:
        super().__init__(
            f"Upgrade: expected websocket, got {came}: a proxy before the service has to speak "
            "HTTP/1.1 to it and pass the headers `Upgrade` and `Connection` on"
        )


def require_upgrade(request: web.Request) -> None:
    """Raise UpgradeRequired unless the request asks for a WebSocket."""
    came = request.headers.get("Upgrade", "")
    if came.lower() != "websocket":
        raise UpgradeRequired(repr(came or "nothing"))
