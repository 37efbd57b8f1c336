"""A watch without a WebSocket: an endless HTTP response of length-prefixed frames.

Each frame is a DataFrameProto after its length, 4 bytes in big-endian order.  The Go client reads
this when it is configured not to use WebSockets, and so did the first Python client.
"""

import asyncio
import contextlib
import logging
import struct

from aiohttp import web

from client_sdk.wire import frame, names
from queue_service.delivery.subscriber import Ended, Subscriber
from queue_service.errors import ServiceError
from queue_service.store.entry import Delivery
from queue_service.web.connection import begin_stream, cut, grant_patience, has_left, probe
from queue_service.web.eas.reader import Reader
from queue_service.web.eas.watch import (
    WatchOptions,
    committed_at_once,
    frame_of,
    read_options,
    subscribe,
)
from queue_service.web.keys import SETTINGS
from queue_service.web.parameters import Parameters
from queue_service.web.tokens import admission_of

log = logging.getLogger(__name__)

_LENGTH = struct.Struct(">I")

#: How often a handler checks whether its client is still connected, in seconds.
LOOK_S = 1.0


async def stream(
    request: web.Request, reader: Reader, parameters: Parameters
) -> web.StreamResponse:
    """Subscribe the client and write frames until either side ends it.

    A client cannot send a sign of life here: it counts as alive while its connection is open, and
    the system probes the connection often enough for the lease.
    """
    settings = request.app[SETTINGS]
    options = read_options(parameters, settings)

    def ping() -> None:
        if not has_left(request):
            subscriber.hear()

    subscriber = await subscribe(
        reader, parameters, options, kind="stream", ping=ping, cut=lambda: cut(request)
    )
    admission_of(request).on_end(lambda: subscriber.end(Ended.REVOKED))
    response = web.StreamResponse(headers={"Content-Type": names.PROTOBUF})
    try:
        # Notice within about a lease that the other machine is gone.
        every_s = max(1, settings.lease_ms // 3000)
        probe(request, every_s=every_s, give_up_s=settings.watch_send_timeout_s)
        grant_patience(request, settings.watch_send_timeout_s)
        await begin_stream(request, response)
        await _write_frames(request, response, reader, subscriber, options)
    except ConnectionError:
        pass
    finally:
        with contextlib.suppress(ServiceError):
            await asyncio.shield(reader.queue.unsubscribe(subscriber))
    return response


async def _write_frames(
    request: web.Request,
    response: web.StreamResponse,
    reader: Reader,
    subscriber: Subscriber,
    options: WatchOptions,
) -> None:
    while not has_left(request):
        batch: list[Delivery] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                batch = await subscriber.next_batch()
        if not batch:
            if subscriber.ended is not None:
                return
            continue
        for delivery in batch:
            if subscriber.ended is Ended.REVOKED:
                return
            try:
                data = frame.encode(await frame_of(reader, delivery.entry, options))
            except ServiceError as error:
                log.warning("A watch ends: %s", error)
                return
            await response.write(_LENGTH.pack(len(data)) + data)
        if options.auto_commit:
            indexes = committed_at_once(delivery.entry for delivery in batch)
            try:
                await reader.queue.commit(subscriber.gid, subscriber.uid, indexes)
            except ServiceError as error:
                log.warning("A watch ends: %s", error)
                return
