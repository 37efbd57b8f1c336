"""One connection, with the limits that the HTTP library does not know.

The library reads requests and writes answers.  This adds how long a head may take to come, and how
long a client may read nothing of what was written for it.  A request that comes and is answered at
once costs a comparison more; the time is looked at by one sweep a second in `server.py`.
"""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol, cast

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.web_protocol import RequestHandler

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from queue_service.delivery.doorbell import Doorbell
from queue_service.web.waits import Waits

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: How long a client that sends nothing more may take to confirm an answer, and between two looks,
#: in seconds.
CONFIRM_S = 5.0
CONFIRM_LOOK_S = 0.01


class Door(Protocol):
    """What a connection asks of the server that it belongs to: see `server.Server`."""

    blocked: "dict[Connection, Blockage]"

    def enter(self, connection: "Connection") -> "Waits[Connection] | None":
        """Where the connection waits for its heads, or None when it is refused."""

    def leave(self, connection: "Connection") -> None:
        """The connection has ended."""


class Blockage:
    """Since when a client has taken nothing of what waits for it, and how much that is."""

    __slots__ = ("since", "waiting_bytes")

    def __init__(self, now: float, waiting_bytes: int) -> None:
        self.since = now
        self.waiting_bytes = waiting_bytes

    def look(self, now: float, waiting_bytes: int) -> float:
        """Note how much waits now; return for how many seconds nothing was taken."""
        if waiting_bytes < self.waiting_bytes:
            self.since = now
        # More is no progress: an answer to each of the client's pings may still be added.
        self.waiting_bytes = waiting_bytes
        return now - self.since


class Connection(RequestHandler):
    """A client's connection.

    address: where it comes from.  half_closed: whether the client has said that it sends nothing
    more; it may still read, or have left: nobody can tell before something is written.
    send_timeout_s: how long the client may read nothing; a watch grants more, because its client
    may rightly be busy with what it was given before.
    """

    __slots__ = (
        "_awaits_head",
        "_bell",
        "_door",
        "_has_part",
        "_heads",
        "_newest",
        "_on_data",
        "address",
        "half_closed",
        "send_timeout_s",
    )

    def belong_to(self, door: Door, *, send_timeout_s: float) -> None:
        """Say whose connection this is; called once, before it is made."""
        self._door = door
        self._heads: Waits[Connection] | None = None
        self._awaits_head = False
        self._has_part = False
        self._bell: Doorbell | None = None
        self._on_data: Callable[[int], None] | None = None
        self.address = ""
        self.half_closed = False
        #: The body of the newest request.
        self._newest: StreamReader | None = None
        self.send_timeout_s = send_timeout_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self._heads = self._door.enter(self)
        if self._heads is None:
            # Whatever comes is dropped unread from now on.
            self._force_close = True
            refusal = "this process has as many connections as it takes; try again later"
            cast(asyncio.Transport, transport).write(_answer(503, Code.OVERLOADED, refusal))
            transport.close()
            return
        self._awaits_head = True
        self._heads.begin(self, self._loop.time())
        super().connection_made(transport)

    def connection_lost(self, error: BaseException | None) -> None:
        if self._heads is not None:
            self._heads.end(self)
            self._heads = None
            self._door.blocked.pop(self, None)
            self._door.leave(self)
        if self._bell is not None:
            self._bell.ring()
        super().connection_lost(error)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection for the answers to what was asked; True keeps it.

        Handlers that wait learn that the client may have left, and answer with what they have.
        """
        super().eof_received()
        # Between two requests, with half a body, or as a WebSocket there is nothing to answer.
        is_idle = self._newest is None or (self._waiter is not None and not self._waiter.done())
        if is_idle or self._newest is None or not self._newest.is_eof() or self._upgraded:
            return None
        self.half_closed = True
        if self._messages and self._request_handler is not None:
            self.serve_with(self._close_behind(self._request_handler))
        else:
            self.close()
        if self._bell is not None:
            self._bell.ring()
        return True

    def _close_behind(self, handler: "Answer") -> "Answer":
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            if not self._messages:
                self.close()
            return await handler(request)

        return answer

    async def has_taken_all(self) -> bool:
        """Say whether the other side's system has confirmed all that was written, within a while.

        One that has left answers with a reset, and confirms nothing.
        """
        for _ in range(int(CONFIRM_S / CONFIRM_LOOK_S)):
            if self.transport is None:
                return False
            connection = self.transport.get_extra_info("socket")
            if not self.unsent_bytes and not _unconfirmed_bytes(connection.fileno()):
                return True
            await asyncio.sleep(CONFIRM_LOOK_S)
        return False

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        if self._on_data is not None:
            self._on_data(len(data))
        super().data_received(data)
        if self._request_count != before:
            if self._messages:
                # Those before it are whole, or it could not have been read.
                self._newest = self._messages[-1][1]
            if self._awaits_head and self._heads is not None:
                self._awaits_head = self._has_part = False
                self._heads.end(self)
        elif (self._waiter is not None or before == 0) and data and self._heads is not None:
            # The start of a head, where no request is under way.
            self._awaits_head = self._has_part = True
            self._heads.begin(self, self._loop.time())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._door.blocked[self] = Blockage(self._loop.time(), self.unsent_bytes)

    def resume_writing(self) -> None:
        self._door.blocked.pop(self, None)
        super().resume_writing()

    def leaving(self) -> Doorbell:
        """The bell that rings when the client leaves."""
        if self._bell is None:
            self._bell = Doorbell()
        return self._bell

    @property
    def unsent_bytes(self) -> int:
        """How much was written and not taken by the other side."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def measure(self, on_data: Callable[[int], None]) -> None:
        """Call this with the size of whatever comes from now on."""
        self._on_data = on_data

    def serve_with(self, handler: "Answer") -> None:
        """Let another handler than the application answer what comes here."""
        self._request_handler = handler

    def give_up_head(self) -> None:
        """The head did not come in time: say so to whoever has begun one, and close."""
        if self.transport is not None and self._has_part:
            sentence = "expected a whole request head in time, got a part of one"
            self.transport.write(_answer(408, Code.BAD_PARAMETER, sentence))
        self.force_close()

    def cut(self) -> None:
        """End the connection at once, with whatever still waits to be sent."""
        if self.transport is not None:
            self.transport.abort()


def _unconfirmed_bytes(descriptor: int) -> int:
    """How much of what was sent the other side has not confirmed; 0 where nobody can tell."""
    try:
        reply = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(reply, sys.byteorder)


def _answer(status: int, code: Code, sentence: str) -> bytes:
    """Write an answer for which there is no request."""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"{names.ERROR_CODE_HEADER}: {code}",
        f"Content-Length: {len(sentence)}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", sentence]).encode()


def cut(request: web.Request) -> None:
    """End a connection without a word; nothing happens when it has ended."""
    if request.transport is not None:
        request.transport.abort()


def grant_patience(request: web.Request, send_timeout_s: float) -> None:
    """Let the client of this request read nothing for so long."""
    if isinstance(request.protocol, Connection):
        request.protocol.send_timeout_s = send_timeout_s


def measure(request: web.Request, on_data: Callable[[int], None]) -> None:
    """Call this with the size of whatever comes on the connection of this request from now on."""
    if isinstance(request.protocol, Connection):
        request.protocol.measure(on_data)


def leaving(request: web.Request) -> Doorbell:
    """The bell that rings when the client of this request leaves."""
    protocol = request.protocol
    return protocol.leaving() if isinstance(protocol, Connection) else Doorbell()


def is_half_closed(request: web.Request) -> bool:
    """Say whether the client of this request sends nothing more."""
    protocol = request.protocol
    return isinstance(protocol, Connection) and protocol.half_closed


def has_left(request: web.Request) -> bool:
    """Say whether the client's connection is gone, or may be: it sends nothing more."""
    gone = request.transport is None or request.transport.is_closing()
    return gone or is_half_closed(request)


async def has_taken_all(request: web.Request) -> bool:
    """Say whether the client of this request has confirmed all that was written."""
    protocol = request.protocol
    return not isinstance(protocol, Connection) or await protocol.has_taken_all()


async def begin_stream(request: web.Request, response: web.StreamResponse) -> None:
    """Send the head of an answer of unknown length, which proxies are to pass on as it grows."""
    response.headers["X-Accel-Buffering"] = "no"
    if request.version < HttpVersion11:
        # Without chunks the end of the connection is the only end of the answer.
        response.force_close()
    await response.prepare(request)
