"""A watch: frames pushed over a WebSocket that reconnects by itself.

    async with client.sink.watch(window=5) as frames:
        async for frame in frames:
            ...
            await client.sink.commit(frame)

Frames are read from the socket only when the caller asks for one, so the window and TCP are the
only buffers.  Pings are sent in the background, so that a slow loop body does not look like a dead
subscriber.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp

from client_sdk import errors
from client_sdk.plain_text import without_login
from client_sdk.replicas import Reconnect
from client_sdk.transport import Transport
from client_sdk.websocket import next_binary, open_websocket
from client_sdk.wire import names
from client_sdk.wire.codes import CloseCode
from client_sdk.wire.errors import WireError
from client_sdk.wire.frame import Frame, decode

log = logging.getLogger(__name__)

#: The time between two pings, in seconds; they renew the lease.
PING_INTERVAL_S = 2.0

#: The shortest time between two pings, in seconds.
LEAST_PING_INTERVAL_S = 0.05

#: A connection without any response, even to pings, for this long, in seconds, is broken.
SILENCE_S = 10.0

#: The longest wait for a connection, in seconds.
CONNECT_TIMEOUT_S = 10.0


class Subscription:
    """An async iterator over the frames of one queue.

    It connects at the first frame and ends after `close`.  It raises a QueueError if reconnecting
    cannot help (Unauthorized, NoSuchService, BadParameter, TakenOver).  It waits without a
    limit for a service that is unreachable.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        *,
        query: Callable[[int], str],
        index: int,
        ping_interval_s: float,
        silence_s: float,
    ) -> None:
        """`watch` creates subscriptions; do not create one yourself.

        path: the queue's path below the service's.
        query: returns the query of the handshake, for the index to start at.
        """
        self._transport = transport
        self._path = path
        self._query = query
        self._index = index
        self._ping_interval_s = ping_interval_s
        self._silence_s = silence_s
        self._reconnect = Reconnect(transport.replicas, transport.retry.backoff())
        self._websocket: aiohttp.ClientWebSocketResponse | None = None
        self._pinger: asyncio.Task[None] | None = None
        self._silence = asyncio.timeout(None)
        self._reading_since: float | None = None
        self._closing = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        while not self._closing.is_set():
            try:
                if self._websocket is None:
                    self._websocket = await self._connect()
                frame = decode(await self._read(self._websocket))
            except errors.QueueError as error:
                await self._disconnect()
                if self._closing.is_set() or isinstance(error, errors.Closed):
                    break
                if not error.transient:
                    raise
                if error.status == CloseCode.LEASE_LOST:
                    self._ping_more_often()
                log.info("The watch of %s was interrupted: %s", without_login(self._url), error)
                await self._pause(self._reconnect.next_delay_s(error))
            except WireError as error:
                await self._disconnect()
                raise errors.BadMessage(str(error), url=self._url) from error
            else:
                if self._index < 0:
                    # "From now on" applies only to the first connection.  After a reconnect it
                    # would skip frames that arrived meanwhile, and frames that were not committed.
                    self._index = frame.index
                return frame
        raise StopAsyncIteration

    async def close(self) -> None:
        """Stop watching; other subscribers get uncommitted frames.  A second call does nothing."""
        self._closing.set()
        await self._disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _ping_more_often(self) -> None:
        # The EAS protocol does not tell a watcher the length of its lease, but this close code
        # means that the pings were too far apart.  A process that was suspended gets here too; the
        # only cost is more pings.
        self._ping_interval_s = max(self._ping_interval_s / 2, LEAST_PING_INTERVAL_S)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    @property
    def _url(self) -> str:
        return self._transport.base_url + self._path

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        websocket = await open_websocket(
            self._transport.session,
            self._url,
            query=self._query(self._index),
            headers={"Accept": names.PROTOBUF},
            timeout_s=CONNECT_TIMEOUT_S,
        )
        self._reconnect.connected()
        self._pinger = asyncio.create_task(self._ping(websocket), name=f"pings to {self._url}")
        return websocket

    async def _disconnect(self) -> None:
        websocket, self._websocket = self._websocket, None
        pinger, self._pinger = self._pinger, None
        try:
            if pinger is not None:
                pinger.cancel()
                await asyncio.gather(pinger, return_exceptions=True)
        finally:
            # In `finally`, because the caller may be cancelled right now: a connection left open
            # would keep receiving deliveries.
            if websocket is not None:
                await websocket.close()

    async def _read(self, websocket: aiohttp.ClientWebSocketResponse) -> bytes:
        """Return the next frame's bytes; raise if the connection has ended."""
        self._hear()
        try:
            async with asyncio.timeout(None) as self._silence:
                return await next_binary(websocket, url=self._url, heard=self._hear)
        except (aiohttp.ClientError, OSError) as error:
            sentence = str(error) or f"no data received for {self._silence_s:g} s"
            raise errors.ConnectionFailed(sentence, url=self._url) from error
        finally:
            self._reading_since = None

    def _hear(self) -> None:
        self._reading_since = asyncio.get_running_loop().time()

    async def _ping(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        """Send pings, and end a read that gets no response."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(self._ping_interval_s)
                since = self._reading_since
                if since is not None and loop.time() - since > self._silence_s:
                    self._silence.reschedule(loop.time())
                    return
                await websocket.ping(b"ping")
        except (aiohttp.ClientError, OSError):
            return  # The reader sees the same end, and reports its reason.
