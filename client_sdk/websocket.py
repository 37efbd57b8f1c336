"""Opens the service's WebSockets, and turns their close codes into exceptions."""

import asyncio
from collections.abc import Callable

import aiohttp
from yarl import URL

from client_sdk import errors
from client_sdk.refusals import from_answer
from client_sdk.unreachable import failed_connection
from client_sdk.wire import names
from client_sdk.wire.codes import CloseCode, Code
from client_sdk.wire.errors import WireError

#: How long to wait for the other side's close frame, in seconds.
CLOSE_TIMEOUT_S = 1.0

NO_UPGRADE = (
    "the WebSocket upgrade failed: configure the proxy to speak HTTP/1.1 to the service and to "
    "forward the headers `Upgrade` and `Connection`"
)

#: Statuses of a proxy, or of a service that got no upgrade, instead of 101.
_NO_WEBSOCKET = {101, 200, 204, 400, 405, 426, 501, 505}

# The meaning of a close code; with any other code the connection failed.
_MEANINGS: dict[int, tuple[type[errors.QueueError], str]] = {
    CloseCode.UNAUTHORIZED: (errors.Unauthorized, "the token is not valid any more"),
    CloseCode.TAKEN_OVER: (errors.TakenOver, "the same uid connected again and took over"),
    CloseCode.SERVICE_DELETED: (errors.NoSuchService, "the service was deleted"),
    CloseCode.BAD_MESSAGE: (errors.BadMessage, "the service could not read our message"),
    CloseCode.VERSION_MISMATCH: (errors.VersionMismatch, "the versions of both sides differ"),
    CloseCode.GOING_AWAY: (errors.ConnectionFailed, "this replica is stopping"),
    CloseCode.UNSUPPORTED: (errors.BadMessage, "the service expects binary messages"),
    aiohttp.WSCloseCode.PROTOCOL_ERROR: (errors.BadMessage, "the WebSocket protocol was violated"),
    aiohttp.WSCloseCode.POLICY_VIOLATION: (errors.Refused, "the service refuses this connection"),
}


async def open_websocket(
    session: aiohttp.ClientSession,
    url: str,
    *,
    headers: dict[str, str],
    timeout_s: float,
    query: str = "",
) -> aiohttp.ClientWebSocketResponse:
    """Connect within `timeout_s`; `query` is encoded and has no question mark.

    Raises the exception for the service's error response, or ConnectionFailed without a response.
    The caller answers pings, because a ping is a sign of life that it must see.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await session.ws_connect(
                URL(f"{url}?{query}" if query else url, encoded=True),
                headers=headers,
                autoping=False,
                # No limit: the service enforces its own limits.
                max_msg_size=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
            )
    except aiohttp.WSServerHandshakeError as error:
        if _lacks_upgrade(error):
            raise errors.NoUpgrade(
                f"{NO_UPGRADE} (the response was {error.status})", status=error.status, url=url
            ) from None
        # aiohttp does not read the body of a refused handshake; its headers carry the code.
        raise from_answer(
            error.status, error.headers or {}, error.message.encode(), url=url
        ) from None
    except aiohttp.InvalidURL as error:
        raise errors.BadParameter(f"expected the URL of a service: {error}") from error
    except (aiohttp.ClientError, OSError) as error:
        no_time = f"no connection within {timeout_s:g} s"
        raise failed_connection(error, no_time, url=url) from error


def _lacks_upgrade(error: aiohttp.WSServerHandshakeError) -> bool:
    """Return whether the service, or a proxy before it, never saw the upgrade request."""
    code = error.headers.get(names.ERROR_CODE_HEADER, "") if error.headers else ""
    return code == Code.UPGRADE_REQUIRED or (not code and error.status in _NO_WEBSOCKET)


async def next_binary(
    websocket: aiohttp.ClientWebSocketResponse, *, url: str, heard: Callable[[], None]
) -> bytes:
    """Return the next binary message; answer pings until it arrives.

    heard: called for every received message, pings included.
    Raises the exception for the end of the connection, and WireError for a text message.
    """
    while True:
        message = await websocket.receive()
        heard()
        match message.type:
            case aiohttp.WSMsgType.BINARY:
                return bytes(message.data)
            case aiohttp.WSMsgType.PING:
                await websocket.pong(message.data)
            case aiohttp.WSMsgType.PONG:
                pass
            case aiohttp.WSMsgType.TEXT:
                raise WireError("a binary message", "a text message")
            case aiohttp.WSMsgType.CLOSE:
                # Not `websocket.close_code`: aiohttp replaces the received code by 1006 if our
                # reply to the close cannot be written any more.
                raise closed_error(message.data, url=url, reason=message.extra or "")
            case _:
                raise closed_error(websocket.close_code, url=url)


def closed_error(close_code: int | None, *, url: str, reason: str = "") -> errors.QueueError:
    """Return the exception for a close code; it is `transient` if reconnecting can help."""
    kind, sentence = _MEANINGS.get(
        close_code or aiohttp.WSCloseCode.ABNORMAL_CLOSURE,
        (errors.ConnectionFailed, "the connection ended"),
    )
    sentence = f"{sentence} ({reason})" if reason else sentence
    return kind(sentence, status=close_code, url=url)
