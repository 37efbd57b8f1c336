"""Peers of the SDK that misbehave on purpose: what a real service does only on its worst day.

They speak real HTTP and real WebSockets on a real port; the test says what they answer.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from client_sdk.wire import names
from client_sdk.wire.versions import PROTOCOL
from client_sdk.wire.worker import (
    Completions,
    Deliveries,
    Delivery,
    FromWorker,
    Held,
    Hello,
    Outcome,
    Outcomes,
    Rejections,
    Renew,
    ToWorker,
    Welcome,
    decode_from_worker,
    encode_to_worker,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve every path with one handler on a free port; yield the URL."""
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


def answer(status: int = 200, body: bytes = b"", **headers: str) -> web.Response:
    """Return an answer; `Error_Code="X"` among the headers names the error code."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if "Error-Code" in named:
        named[names.ERROR_CODE_HEADER] = named.pop("Error-Code")
    return web.Response(status=status, body=body, headers=named)


CUT_OFF = "cut off"


@dataclass
class HttpPeer:
    """Answers each request with the next of its answers, and remembers what it was asked."""

    answers: list[web.Response | str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(
            Asked(
                request.method,
                request.raw_path.partition("?")[0],
                dict(request.query),
                dict(request.headers),
                await request.read(),
            )
        )
        response = self.answers.pop(0)
        if isinstance(response, str):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return response


@dataclass
class WorkPeer:
    """Speaks the worker connection as the queue service does, one connection at a time.

    It delivers what `deliver` gets, and answers each completion and rejection as `verdict`
    says: True accepts, False refuses, None says nothing.
    """

    lease_ms: int = 3000
    protocol: int = PROTOCOL
    pings: bool = True
    lost: tuple[Held, ...] = ()
    refuse: list[web.Response] = field(default_factory=list)
    #: Codes to close with in place of the Welcome.
    unwelcome: list[int] = field(default_factory=list)
    verdict: Callable[[int], bool | None] = lambda index: True
    max_msg_size: int = 2**22
    hellos: list[Hello] = field(default_factory=list)
    said: list[FromWorker] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    socket: web.WebSocketResponse | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append({**request.headers, ":path": request.path})
        if self.refuse:
            return self.refuse.pop(0)
        socket = web.WebSocketResponse(
            max_msg_size=self.max_msg_size,
            heartbeat=self.lease_ms / 3000 if self.pings else None,
        )
        await socket.prepare(request)
        hello = decode_from_worker(await socket.receive_bytes())
        assert isinstance(hello, Hello)
        self.hellos.append(hello)
        if self.unwelcome:
            await socket.close(code=self.unwelcome.pop(0))
            return socket
        welcome = Welcome("svc", self.lease_ms, self.lost, self.protocol)
        await socket.send_bytes(encode_to_worker(welcome))
        self.socket = socket
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await self._hear(socket, decode_from_worker(message.data))
        return socket

    async def say(self, message: ToWorker) -> None:
        assert self.socket is not None
        await self.socket.send_bytes(encode_to_worker(message))

    async def deliver(self, *deliveries: Delivery) -> None:
        await self.say(Deliveries(deliveries))

    async def close(self, code: int) -> None:
        assert self.socket is not None
        await self.socket.close(code=code)

    def abort(self) -> None:
        """Cut the connection without a word, as a killed process does."""
        assert self.socket is not None
        assert self.socket._req is not None
        transport = self.socket._req.transport
        assert transport is not None
        transport.abort()

    def answers(self) -> list[tuple[int, int]]:
        """Return (index, attempt) of every completion and rejection, in order of arrival."""
        return [
            (item.index, item.attempt)
            for message in self.said
            for item in (
                message.completions
                if isinstance(message, Completions)
                else message.rejections
                if isinstance(message, Rejections)
                else ()
            )
        ]

    def renewals(self) -> int:
        return sum(isinstance(message, Renew) for message in self.said)

    async def _hear(self, socket: web.WebSocketResponse, message: FromWorker) -> None:
        self.said.append(message)
        items: tuple[tuple[int, int], ...] = ()
        match message:
            case Completions(completions):
                items = tuple((item.index, item.attempt) for item in completions)
            case Rejections(rejections):
                items = tuple((item.index, item.attempt) for item in rejections)
        outcomes = []
        for index, attempt in items:
            accepted = self.verdict(index)
            if accepted is not None:
                code = "" if accepted else "LEASE_LOST"
                outcomes.append(Outcome(index, attempt, accepted, code))
        if outcomes:
            await socket.send_bytes(encode_to_worker(Outcomes(tuple(outcomes))))
