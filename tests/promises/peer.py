"""A worker for tests that speaks the wire itself, and notes everything it was handed.

It does nothing on its own: the test says when it connects, answers, rejects or vanishes.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from client_sdk.wire import names
from client_sdk.wire import worker as wire
from tests.running import TOKEN

_numbers = itertools.count(1)


@dataclass(eq=False)
class Peer:
    """One worker process, as the service sees it.

    held: by index, the deliveries that it was handed and has not answered.
    most_held: the most there ever were.
    outcomes: what the service said of its answers.  taken: what, by its messages, it holds no more.
    """

    session: aiohttp.ClientSession
    window: int
    uid: str = ""
    service: str = "svc"
    token: str = TOKEN
    held: dict[int, wire.Delivery] = field(default_factory=dict)
    handed: list[wire.Delivery] = field(default_factory=list)
    outcomes: list[wire.Outcome] = field(default_factory=list)
    taken: list[wire.Held] = field(default_factory=list)
    most_held: int = 0
    on_delivery: Callable[["Peer", wire.Delivery], None] | None = None
    socket: aiohttp.ClientWebSocketResponse | None = None
    close_code: int | None = None
    _reading: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.uid = self.uid or f"peer-{next(_numbers)}"

    @property
    def connected(self) -> bool:
        return self.socket is not None and not self.socket.closed

    async def connect(self, url: str) -> wire.Welcome:
        """Connect, claim what is held, and forget of it what the service says is lost."""
        path = names.WORK_PATH.format(service=self.service)
        socket = await self.session.ws_connect(
            url + path, headers={"Authorization": self.token}, max_msg_size=0, autoping=True
        )
        try:
            welcome = await self._greet(socket)
        except BaseException:
            # Also when the caller's patience ends: a socket that nobody reads would be handed
            # entries until its lease is over.
            await socket.close()
            raise
        self.socket = socket
        self._reading = asyncio.create_task(self._read(socket))
        return welcome

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse) -> wire.Welcome:
        claims = tuple(wire.Held(item.index, item.attempt) for item in self.held.values())
        await socket.send_bytes(
            wire.encode_from_worker(wire.Hello(self.uid, self.window, held=claims))
        )
        received = await socket.receive()
        if received.type is not aiohttp.WSMsgType.BINARY:
            raise ConnectionError(f"no Welcome but {received.type} {received.data}")
        welcome = wire.decode_to_worker(received.data)
        assert isinstance(welcome, wire.Welcome)
        for lost in welcome.lost:
            del self.held[lost.index]
        return welcome

    async def complete(self, *indexes: int, data: bytes | None = None) -> None:
        """Answer deliveries: each with its own data, or with what is given."""
        done = []
        for index in indexes:
            delivery = self.held.pop(index)
            result = wire.Result(delivery.data if data is None else data)
            done.append(wire.Completion(index, delivery.attempt, result))
        await self.send(wire.Completions(tuple(done)))

    async def reject(self, index: int, code: str = "500") -> None:
        delivery = self.held.pop(index)
        await self.send(wire.Rejections((wire.Rejection(index, delivery.attempt, code),)))

    async def send(self, message: wire.FromWorker) -> None:
        assert self.socket is not None
        await self.socket.send_bytes(wire.encode_from_worker(message))

    async def cut(self) -> None:
        """End the connection without a word, as a crash does."""
        if self.socket is not None:
            connection = self.socket._response.connection
            if connection is not None and connection.transport is not None:
                connection.transport.abort()
        await self._stop_reading()

    async def vanish(self) -> None:
        """Die: the connection is cut and everything in hand is forgotten."""
        await self.cut()
        self.held.clear()
        self.uid = f"peer-{next(_numbers)}"

    async def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
        if self.socket is not None:
            await self.socket.close()
        self.socket = self._reading = None

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            received = wire.decode_to_worker(message.data)
            if isinstance(received, wire.Deliveries):
                for delivery in received.deliveries:
                    self._take(delivery)
            elif isinstance(received, wire.Taken):
                self.taken.extend(received.deliveries)
                for held in received.deliveries:
                    self.held.pop(held.index, None)
            elif isinstance(received, wire.Outcomes):
                self.outcomes.extend(received.outcomes)
        self.close_code = socket.close_code

    def _take(self, delivery: wire.Delivery) -> None:
        self.held[delivery.index] = delivery
        self.handed.append(delivery)
        self.most_held = max(self.most_held, len(self.held))
        if self.on_delivery is not None:
            self.on_delivery(self, delivery)
