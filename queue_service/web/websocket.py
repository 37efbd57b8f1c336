"""What the WebSockets of two APIs share: the upgrade, pings, and why a connection is closed."""

import asyncio
import contextlib

from aiohttp import web

from client_sdk.wire.codes import CloseCode, Code
from queue_service.delivery.subscriber import Ended
from queue_service.errors import ServiceError

#: The close code and reason for each end of a subscriber.
CLOSINGS = {
    Ended.LEASE_LOST: (CloseCode.LEASE_LOST, b"no sign of life for longer than the lease"),
    Ended.TAKEN_OVER: (CloseCode.TAKEN_OVER, b"the same user has connected again"),
    Ended.STOPPING: (CloseCode.GOING_AWAY, b"this replica stops; connect again"),
    Ended.REVOKED: (CloseCode.UNAUTHORIZED, b"the token is not valid any more"),
    Ended.SERVICE_STOPPED: (CloseCode.SERVICE_STOPPED, b"the service is stopped"),
    Ended.SERVICE_DELETED: (CloseCode.SERVICE_DELETED, b"the service was deleted"),
    Ended.STORE_LOST: (CloseCode.STORE_UNAVAILABLE, b"the store went away; connect again"),
}
#: How long a client may take to answer our close, in seconds.
CLOSE_TIMEOUT_S = 1.0


class UpgradeRequired(ServiceError):
    """The path is a WebSocket's, and the request did not ask for one."""

    code = Code.UPGRADE_REQUIRED

    def __init__(self, came: str) -> None:
        super().__init__(
            f"Upgrade: expected websocket, got {came}: configure the proxy to speak HTTP/1.1 to "
            "the service and to forward the headers `Upgrade` and `Connection`"
        )


def require_upgrade(request: web.Request) -> None:
    """Raise UpgradeRequired unless the request asks for a WebSocket."""
    came = request.headers.get("Upgrade", "")
    if came.lower() != "websocket":
        raise UpgradeRequired(repr(came or "nothing"))


def send_ping(socket: web.WebSocketResponse, pings: set[asyncio.Task[None]]) -> None:
    """Ask for a sign of life without waiting for a client that reads nothing."""

    async def ping() -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            await socket.ping()

    if not pings and not socket.closed:
        task = asyncio.create_task(ping())
        pings.add(task)
        task.add_done_callback(pings.discard)
