"""One connection, with the limits that the HTTP library lacks, and what handlers ask of it.

The library reads requests and writes responses.  This adds two time-outs: for the head of a
request, and for a client that does not read its response.  A request that is answered at once costs
one more comparison; `server.py` checks the times once a second.
"""

import asyncio
import fcntl
import select
import socket
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

#: How long a half-closed client may take to confirm a response, and the time between two checks, in
#: seconds.
CONFIRM_S = 5.0
CONFIRM_LOOK_S = 0.01
#: How long a stream waits for a client that reads nothing, in seconds.
WRITE_TIMEOUT_S = 60.0


class ConnectionOwner(Protocol):
    """The server that a connection belongs to: see `server.Server`."""

    blocked: "dict[Connection, Blockage]"

    def enter(self, connection: "Connection") -> "Waits[Connection] | None":
        """Count the connection; return where it waits for heads, or None to refuse it."""

    def leave(self, connection: "Connection") -> None:
        """The connection has ended."""


class Blockage:
    """How long a client has not read, and how many bytes are waiting for it."""

    __slots__ = ("since", "waiting_bytes")

    def __init__(self, now: float, waiting_bytes: int) -> None:
        self.since = now
        self.waiting_bytes = waiting_bytes

    def look(self, now: float, waiting_bytes: int) -> float:
        """Note how many bytes are waiting; return for how many seconds none was read."""
        if waiting_bytes < self.waiting_bytes:
            self.since = now
        # More is no progress: an answer to each of the client's pings may still be added.
        self.waiting_bytes = waiting_bytes
        return now - self.since


class Connection(RequestHandler):
    """A client's connection.

    address: the client's IP address.
    half_closed: whether the client has closed its sending side.  It may still read, or be gone:
        only a write can tell.
    send_timeout_s: how long the client may read nothing.  A watch gets longer, because its client
        may be busy with earlier entries.
    """

    __slots__ = (
        "_awaits_head",
        "_bell",
        "_has_part",
        "_heads",
        "_newest",
        "_on_data",
        "_owner",
        "address",
        "half_closed",
        "send_timeout_s",
    )

    def belong_to(self, owner: ConnectionOwner, *, send_timeout_s: float) -> None:
        """Set the server of this connection; called once, before `connection_made`."""
        self._owner = owner
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
        self._heads = self._owner.enter(self)
        if self._heads is None:
            # Drop what the client sends, unread.
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
            self._owner.blocked.pop(self, None)
            self._owner.leave(self)
        if self._bell is not None:
            self._bell.ring()
        super().connection_lost(error)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection for the responses to earlier requests; True keeps it.

        Handlers that wait are notified that the client may be gone, and answer with what they have.
        """
        super().eof_received()
        # Between two requests, after half a body, and on a WebSocket there is nothing to answer.
        is_idle = self._newest is None or (self._waiter is not None and not self._waiter.done())
        if is_idle or self._newest is None or not self._newest.is_eof() or self._upgraded:
            return None
        if self.transport is not None and _has_tls(self.transport):
            # The library ends both directions of TLS at once.
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
        """Wait for the client's system to confirm all that was written; False if it does not.

        A client that is gone answers with a reset and confirms nothing.
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
                # Earlier requests are complete, or this one could not have been read.
                self._newest = self._messages[-1][1]
            if self._awaits_head and self._heads is not None:
                self._awaits_head = self._has_part = False
                self._heads.end(self)
        elif (self._waits_for_head or before == 0) and data and self._heads is not None:
            # The start of a head, with no request in progress.
            self._awaits_head = self._has_part = True
            self._heads.begin(self, self._loop.time())

    @property
    def _waits_for_head(self) -> bool:
        # A head has arrived when it is done, and the loop of requests has yet to run: what follows
        # is the body, which may take longer than a head.
        return self._waiter is not None and not self._waiter.done()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._owner.blocked[self] = Blockage(self._loop.time(), self.unsent_bytes)

    def resume_writing(self) -> None:
        self._owner.blocked.pop(self, None)
        super().resume_writing()

    def leaving(self) -> Doorbell:
        """Return the bell that rings when the client disconnects, or may have: see half_closed."""
        if self._bell is None:
            self._bell = Doorbell()
        return self._bell

    @property
    def unsent_bytes(self) -> int:
        """How much was written and not yet taken by the system."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def measure(self, on_data: Callable[[int], None]) -> None:
        """Call this with the size of each piece that arrives from now on."""
        self._on_data = on_data

    def serve_with(self, handler: "Answer") -> None:
        """Let this handler answer in place of the application."""
        self._request_handler = handler

    def give_up_head(self) -> None:
        """The head did not arrive in time: close, with a 408 if part of it did."""
        if self.transport is not None and self._has_part:
            sentence = "expected a whole request head in time, got a part of one"
            self.transport.write(_answer(408, Code.BAD_PARAMETER, sentence))
        self.force_close()

    def cut(self) -> None:
        """End the connection at once, and drop what is still to be sent."""
        if self.transport is not None:
            self.transport.abort()


def _unconfirmed_bytes(descriptor: int) -> int:
    """Return how many sent bytes the client has not confirmed; 0 where the system cannot tell."""
    try:
        reply = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(reply, sys.byteorder)


def _answer(status: int, code: Code, sentence: str) -> bytes:
    """Return a response for a connection without a request."""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"{names.ERROR_CODE_HEADER}: {code}",
        f"Content-Length: {len(sentence)}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", sentence]).encode()


def cut(request: web.Request) -> None:
    """End a connection without a response; does nothing when it has ended."""
    if request.transport is not None:
        request.transport.abort()


def grant_patience(request: web.Request, send_timeout_s: float) -> None:
    """Let the client of this request read nothing for this long."""
    if isinstance(request.protocol, Connection):
        request.protocol.send_timeout_s = send_timeout_s


def measure(request: web.Request, on_data: Callable[[int], None]) -> None:
    """Call this with the size of each piece that arrives on this connection from now on."""
    if isinstance(request.protocol, Connection):
        request.protocol.measure(on_data)


def leaving(request: web.Request) -> Doorbell:
    """Return the bell that rings when the client of this request disconnects, or may have."""
    protocol = request.protocol
    return protocol.leaving() if isinstance(protocol, Connection) else Doorbell()


def is_half_closed(request: web.Request) -> bool:
    """Say whether the client of this request has closed its sending side."""
    protocol = request.protocol
    return isinstance(protocol, Connection) and protocol.half_closed


def has_left(request: web.Request) -> bool:
    """Say whether the client is gone, or may be: it has closed its sending side."""
    gone = request.transport is None or request.transport.is_closing()
    return gone or is_half_closed(request)


async def write_whole(request: web.Request, response: web.StreamResponse) -> None:
    """Write a response and wait until the client has it; raises ConnectionError when it has not."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has disconnected")
    # Without a buffer of ours, `drain` waits until the system has taken everything; else it would
    # return while bytes wait here for a client that may never read them.
    transport.set_write_buffer_limits(0)
    writer = await response.prepare(request)
    await response.write_eof()
    if writer is not None:
        await writer.drain()
    protocol = request.protocol
    if protocol.writing_paused:
        raise ConnectionResetError("the client disconnected before it had read the response")
    if _has_tls(transport):
        await _leave_buffer_of_tls(transport)
    transport.set_write_buffer_limits()
    if not isinstance(protocol, Connection) or not protocol.half_closed:
        return
    if not await protocol.has_taken_all():
        raise ConnectionResetError("the client has disconnected")


def _has_tls(transport: asyncio.BaseTransport) -> bool:
    return transport.get_extra_info("sslcontext") is not None


async def _leave_buffer_of_tls(transport: asyncio.Transport) -> None:
    """Wait until the system has taken what TLS has encrypted; raises ConnectionError if it cannot.

    The connection below TLS has a buffer of its own, which no interface shows.  It is empty if the
    system takes more after that connection had a chance to write.
    """
    connection = transport.get_extra_info("socket")
    takes_more = False
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            while True:
                took_more, found = takes_more, _ready_to_write(connection.fileno())
                takes_more = found == select.POLLOUT
                # A client may disconnect as soon as it has read everything.
                if took_more and found:
                    return
                if found and not takes_more:
                    raise ConnectionResetError("the client has disconnected")
                await asyncio.sleep(0 if takes_more else CONFIRM_LOOK_S)
    except TimeoutError:
        raise ConnectionResetError("the client reads nothing") from None


def _ready_to_write(descriptor: int) -> int:
    """Return 0 for a full buffer, POLLOUT for one with room, more for a broken connection."""
    if descriptor < 0:
        return select.POLLNVAL
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    return next((events for _, events in ready.poll(0)), 0)


def probe(request: web.Request, *, every_s: int, give_up_s: float) -> None:
    """Have the system probe the client's machine, and end the connection when it is gone.

    give_up_s: how long sent bytes may stay unconfirmed.
    """
    connection = request.get_extra_info("socket")
    if connection is None or not hasattr(socket, "TCP_KEEPIDLE"):
        return
    for option, value in (
        (socket.TCP_KEEPIDLE, every_s),
        (socket.TCP_KEEPINTVL, every_s),
        (socket.TCP_KEEPCNT, 2),
        (socket.TCP_USER_TIMEOUT, int(give_up_s * 1000)),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def write_piece(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Write a piece of a stream; cuts the connection of a client that reads nothing for long.

    Raises ConnectionResetError then, and when the client has disconnected.
    """
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await response.write(data)
    except TimeoutError:
        cut(request)
        raise ConnectionResetError("the client reads nothing") from None


async def begin_stream(request: web.Request, response: web.StreamResponse) -> None:
    """Send the head of a response of unknown length, which proxies are to pass on unbuffered."""
    response.headers["X-Accel-Buffering"] = "no"
    if request.version < HttpVersion11:
        # Without chunks only the end of the connection ends the response.
        response.force_close()
    await response.prepare(request)
