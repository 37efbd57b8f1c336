"""A watch over a WebSocket: one frame in each binary message."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from client_sdk.cancellation import end_task
from client_sdk.wire import frame, names
from client_sdk.wire.codes import CloseCode
from client_sdk.wire.frame import Frame
from queue_service.delivery.subscriber import Ended, Subscriber
from queue_service.errors import BadParameter, ServiceError
from queue_service.settings.process import Settings
from queue_service.store.entry import Entry
from queue_service.web.connection import cut, grant_patience
from queue_service.web.eas.contents import FRAME_BYTES, for_watch
from queue_service.web.eas.reader import Reader
from queue_service.web.eas.render import to_empty_frame, to_frame
from queue_service.web.keys import SETTINGS
from queue_service.web.parameters import MAX_INDEX, Parameters
from queue_service.web.tokens import admission_of
from queue_service.web.websocket import CLOSE_TIMEOUT_S, CLOSINGS, send_ping

log = logging.getLogger(__name__)

#: Clients send only control frames; larger messages are refused unread.
MAX_MESSAGE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What a watch asks for.

    index: the lowest that it wants, -1 for entries from now on.
    window: how many entries it may hold; with auto_commit, how many may be in transit.
    """

    index: int
    window: int
    index_only: bool
    auto_commit: bool


def read_options(parameters: Parameters, settings: Settings) -> WatchOptions:
    """Read a watch's parameters."""
    auto_commit = parameters.flag(names.AUTO_COMMIT)
    window = parameters.number(names.WINDOW, default=1, least=1, most=settings.max_window)
    return WatchOptions(
        index=parameters.number(names.INDEX, default=0, least=-1, most=MAX_INDEX),
        window=settings.auto_commit_window if auto_commit else window,
        index_only=parameters.flag(names.INDEX_ONLY),
        auto_commit=auto_commit,
    )


async def subscribe(
    reader: Reader,
    parameters: Parameters,
    options: WatchOptions,
    *,
    kind: str,
    ping: Callable[[], None],
    cut: Callable[[], None],
) -> Subscriber:
    """Subscribe a connection to what it asks for."""
    subscriber, _ = await reader.queue.subscribe(
        reader.group(parameters),
        reader.user(parameters),
        window=options.window,
        ping=ping,
        cut=cut,
        wanted=reader.wanted(parameters, max(0, options.index)),
        newest_only=options.index == -1,
        about={
            "kind": kind,
            "auto_commit": options.auto_commit,
            "from": options.index,
            "tags": parameters.tags(),
            "since_ms": int(time.time() * 1000),
        },
    )
    return subscriber


async def frame_of(reader: Reader, entry: Entry, options: WatchOptions) -> Frame:
    """Return the frame of an entry, with its data if a frame has room for it."""
    if not options.index_only:
        filled = await for_watch(reader.queue, entry)
        if filled is None:
            return to_empty_frame(entry, with_owner=reader.shows_owner)
        entry = filled
    return to_frame(entry, index_only=options.index_only, with_owner=reader.shows_owner)


def committed_at_once(entries: Iterable[Entry]) -> list[int]:
    """Return the indexes of what the client has received, for a watch that commits by itself."""
    return [
        entry.index
        for entry in entries
        if (file := entry.payload_file) is None or file.size_bytes <= FRAME_BYTES
    ]


async def watch_over_websocket(
    request: web.Request, reader: Reader, parameters: Parameters
) -> web.StreamResponse:
    """Subscribe the client and stream frames until either side ends it.

    Errors come as an HTTP status, before the connection is upgraded: the Python SDK takes
    every message for a frame, so there is no place for an error in the stream.
    """
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise BadParameter("Upgrade", "websocket", repr(request.headers.get("Upgrade", "nothing")))
    options = read_options(parameters, request.app[SETTINGS])
    # We answer pings ourselves, because each is a sign of life.  The Python SDK sends one every two
    # seconds even while its caller reads nothing, when it could not answer one of ours.
    socket = web.WebSocketResponse(
        autoping=False,
        timeout=CLOSE_TIMEOUT_S,
        max_msg_size=MAX_MESSAGE_BYTES,
        compress=False,
    )
    if not socket.can_prepare(request).ok:
        # Before it subscribes: it would take over from a live subscriber of its name.
        raise BadParameter("the request", "a WebSocket handshake", "another")
    pings: set[asyncio.Task[None]] = set()
    queue = reader.queue
    subscriber = await subscribe(
        reader,
        parameters,
        options,
        kind="watch",
        ping=lambda: send_ping(socket, pings),
        cut=lambda: cut(request),
    )
    admission_of(request).on_end(lambda: subscriber.end(Ended.REVOKED))
    grant_patience(request, request.app[SETTINGS].watch_send_timeout_s)
    try:
        await socket.prepare(request)
        sending = asyncio.create_task(_send_frames(socket, reader, subscriber, options))
        try:
            await _listen(socket, subscriber)
        finally:
            await end_task(sending)
    finally:
        with contextlib.suppress(ServiceError):
            await asyncio.shield(queue.unsubscribe(subscriber))
    return socket


async def _listen(socket: web.WebSocketResponse, subscriber: Subscriber) -> None:
    """Read control frames until the connection ends."""
    async for message in socket:
        subscriber.hear()
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            kind = message.type.name.lower()
            reason = f"expected no messages on a watch, got a {kind} message"
            await socket.close(code=CloseCode.UNSUPPORTED, message=reason.encode())


async def _send_frames(
    socket: web.WebSocketResponse, reader: Reader, subscriber: Subscriber, options: WatchOptions
) -> None:
    try:
        while batch := await subscriber.next_batch():
            for delivery in batch:
                if subscriber.ended is Ended.REVOKED:
                    break
                await socket.send_bytes(
                    frame.encode(await frame_of(reader, delivery.entry, options))
                )
            if options.auto_commit and subscriber.ended is not Ended.REVOKED:
                # After sending, so that what was not sent is delivered to another subscriber.
                indexes = committed_at_once(delivery.entry for delivery in batch)
                await reader.queue.commit(subscriber.gid, subscriber.uid, indexes)
    except ConnectionResetError:
        return
    except ServiceError as error:
        log.warning("A watch ends: %s", error)
        await socket.close(code=CloseCode.STORE_UNAVAILABLE, message=error.code.encode())
        return
    if subscriber.ended is not None:
        code, reason = CLOSINGS[subscriber.ended]
        await socket.close(code=code, message=reason)
