"""SIGTERM ends the queue service soon, whatever its clients and its Redis do meanwhile."""

import asyncio
import os
import signal
import socket
import time
from urllib.parse import urlsplit

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire import worker as wire
from deploy.local.redis_server import RedisServer
from tests.conftest import StartService
from tests.promises.conftest import Client, Peers, Watchers
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import LATE_S, wait_until

pytestmark = [pytest.mark.leaves_entries, pytest.mark.leaves_subscribers]

#: Seconds from SIGTERM to the end, with a margin for a busy machine: nobody's answer is waited for.
SOON_S = 6.0
DRAIN_S = 6.0
#: Fills what the kernel keeps of a connection that nobody reads.
MANY_BYTES = 4 * 1024 * 1024
WIDE: dict[str, object] = {"name": "svc", "memory": 40_000, "input": {"max_payload_size_kb": 8192}}


class Deaf:
    """A client that asks and then reads nothing."""

    def __init__(self, service: QueueServiceProcess, head: str) -> None:
        address = urlsplit(service.url)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((address.hostname, address.port))
        self.send(f"{head}\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n\r\n".encode())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)


def masked(payload: bytes) -> bytes:
    """Return a short binary message as a client must write it, under a mask of zeros."""
    assert len(payload) < 126
    return bytes((0x82, 0x80 | len(payload), 0, 0, 0, 0)) + payload


async def ends_within(service: QueueServiceProcess, limit_s: float) -> None:
    began = time.monotonic()
    assert await service.stop() == 0, service.log
    assert time.monotonic() - began < limit_s + LATE_S, service.log


async def test_a_watch_whose_client_reads_nothing_is_not_waited_for(
    start_service: StartService, client: Client
) -> None:
    service = await start_service(WIDE)
    client.url = service.url
    head = f"GET {names.EAS_PREFIX}/svc?_watch_=true&_window_=4 HTTP/1.1\r\n{UPGRADE}"
    deaf = Deaf(service, head)
    for _ in range(4):
        await client.put(bytes(MANY_BYTES))
    # The others wait until it has read the first ones, which it does not.
    await wait_until(lambda: client.search_is_pending(1), "one is on its way")

    await ends_within(service, SOON_S)
    deaf.close()


async def test_a_worker_that_reads_nothing_is_not_waited_for(
    start_service: StartService, client: Client
) -> None:
    service = await start_service(WIDE)
    client.url = service.url
    deaf = Deaf(service, f"GET {names.WORK_PATH.format(service='svc')} HTTP/1.1\r\n{UPGRADE}")
    deaf.send(masked(wire.encode_from_worker(wire.Hello("deaf", 4))))
    for _ in range(4):
        await client.put(bytes(MANY_BYTES))
    # The others wait until it has read the first ones, which it does not.
    await wait_until(lambda: client.search_is_pending(1, gid="svc"), "one is on its way")

    await ends_within(service, SOON_S)
    deaf.close()


async def test_open_requests_end_when_the_drain_is_over_and_not_later(
    start_service: StartService, client: Client
) -> None:
    service = await start_service(WIDE, drain_s=DRAIN_S)
    client.url = service.url
    for _ in range(2):
        await client.put(bytes(2 * MANY_BYTES))
    reader = Deaf(service, f"GET {names.EAS_PREFIX}/svc?{names.AUTO_DELETE}=true HTTP/1.1")
    writer = Deaf(service, f"POST {names.EAS_PREFIX}/svc HTTP/1.1\r\nContent-Length: 100")
    await wait_until(lambda: client.has_length(1), "one is on its way to its reader")

    await ends_within(service, DRAIN_S + 2.0)
    reader.close()
    writer.close()


async def test_a_subscriber_that_comes_while_the_service_stops_is_sent_away(
    start_service: StartService, own_redis: RedisServer, watchers: Watchers, peers: Peers
) -> None:
    service = await start_service(redis_url=own_redis.url)
    watcher, peer = watchers.make(service.url), peers.make(1)
    os.kill(own_redis.pid, signal.SIGSTOP)
    watching = asyncio.create_task(watcher.watch())
    connecting = asyncio.create_task(peer.connect(service.url))
    await asyncio.wait((watching, connecting), timeout=0.5)
    began = time.monotonic()
    os.kill(service.pid, signal.SIGTERM)
    await wait_until(lambda: "Draining." in service.log, "it stops")
    os.kill(own_redis.pid, signal.SIGCONT)

    await wait_until(lambda: not service.running, "the service has ended")

    assert time.monotonic() - began < SOON_S + LATE_S
    await asyncio.gather(watching, connecting, return_exceptions=True)


async def test_it_ends_although_redis_does_not_answer(
    start_service: StartService,
    own_redis: RedisServer,
    client: Client,
    watchers: Watchers,
    peers: Peers,
) -> None:
    service = await start_service(redis_url=own_redis.url, store_timeout_s=2.0)
    client.url = service.url
    watcher, peer = watchers.make(service.url, gid="watchers"), peers.make(2)
    await watcher.watch()
    await peer.connect(service.url)
    for _ in range(2):
        await client.put(b"x")
    await wait_until(lambda: len(peer.held) == 2, "the worker works")
    poll = asyncio.create_task(_poll(client))
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        await peer.complete(*peer.held)
        await ends_within(service, SOON_S)
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    await poll


async def _poll(client: Client) -> None:
    try:
        query = {names.TIMEOUT: "60s"}
        async with client.session.get(
            f"{client.url}{names.EAS_PREFIX}/svc/sink", params=query
        ) as answer:
            await answer.read()
    except aiohttp.ClientError:
        pass
