"""An HTTP server that does to its client whatever a test says, byte by byte."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def answer(
    body: bytes = b"", *, status: int = 200, kind: str = "text/plain", **headers: str
) -> bytes:
    """Return a whole, well-behaved answer."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def says(data: bytes) -> Behaviour:
    """Write these bytes and close."""

    async def behave(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return behave


async def gives_back(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with what came."""
    writer.write(answer(request.body))


async def never_answers(request: Received, writer: asyncio.StreamWriter) -> None:
    """Keep the connection and say nothing."""
    await asyncio.Event().wait()


@dataclass
class RawServer:
    """A TCP server that reads one request from each connection and then behaves."""

    behave: Behaviour = gives_back
    received: list[Received] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if task.cancelling() else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A check whether the port is open sends nothing, and is no request.
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Received(method, target, headers, body)
        self.received.append(request)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        behaving = asyncio.ensure_future(self.behave(request, writer))
        leaving = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait({behaving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if behaving.done():
                behaving.result()
                await writer.drain()
        finally:
            for doing in (behaving, leaving):
                doing.cancel()
            self.open_now -= 1
