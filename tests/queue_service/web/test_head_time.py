"""The time of a head: it ends with the head, however the body behind it arrives."""

import asyncio
import logging
from typing import Any, cast

from aiohttp import web

from queue_service.web.connection import Connection
from tests.waiting import wait_until


class Owner:
    """A server that notes whose heads it waits for."""

    def __init__(self) -> None:
        self.waited: set[Connection] = set()
        self.blocked: dict[Connection, Any] = {}

    def enter(self, connection: Connection) -> "Owner":
        return self

    def leave(self, connection: Connection) -> None:
        pass

    def begin(self, connection: Connection, now: float) -> None:
        self.waited.add(connection)

    def end(self, connection: Connection) -> None:
        self.waited.discard(connection)


class Wire(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def test_a_body_right_behind_its_head_on_a_kept_connection_is_no_slow_head() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=await request.read())

    server, owner, wire = web.Server(handle), Owner(), Wire()
    connection = Connection(
        server, loop=asyncio.get_running_loop(), access_log=logging.getLogger(__name__)
    )
    connection.belong_to(cast(Any, owner), send_timeout_s=30.0)
    connection.connection_made(wire)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: us\r\n\r\n")
    await wait_until(lambda: b"200 OK" in wire.written, "the first request is answered")
    wire.written.clear()
    await wait_until(lambda: connection._waiter is not None, "it waits for the next one")
    # Both in one turn of the event loop, as from a loop that reads until nothing is left.
    connection.data_received(b"PUT / HTTP/1.1\r\nHost: us\r\nContent-Length: 8\r\n\r\n")
    connection.data_received(b"1234")
    assert owner.waited == set()
    connection.data_received(b"5678")
    await wait_until(lambda: bytes(wire.written).endswith(b"12345678"), "it is answered")
    # The start of the next head is waited for.
    await wait_until(lambda: connection._waiter is not None, "it waits for the next one")
    connection.data_received(b"GET /")
    assert owner.waited == {connection}
    connection.connection_lost(None)
    await server.shutdown(1.0)
