"""Clients that take their time: each has a limit, and nobody else waits for them."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire.frame import decode
from tests.attacks.strangers import PUT, dial, metric, puts_and_gets, rest_of, tiny_reader
from tests.conftest import StartService
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import INTERVAL_S, LATE_S, wait_until

#: The limits of the service that these tests run against, in seconds.
HEADER_S = 1.0
KEEPALIVE_S = 2.5
BODY_S = 1.0
SEND_S = 1.0

SLOW_HEADS = [
    pytest.param(b"", id="nothing at all"),
    pytest.param(b"P", id="one letter"),
    pytest.param(b"POST /" + b"x" * 1000, id="a request line without end"),
    pytest.param(PUT.partition(b"\r\n\r\n")[0], id="a head without its last line"),
]


@pytest.fixture
async def service(start_service: StartService) -> AsyncIterator[QueueServiceProcess]:
    """Run a service of little patience; after the test it serves as before."""
    service = await start_service(
        {"name": "svc", "memory": 1000, "input": {"max_payload_size_kb": 1024}},
        header_timeout_s=HEADER_S,
        keepalive_timeout_s=KEEPALIVE_S,
        body_timeout_s=BODY_S,
        send_timeout_s=SEND_S,
        watch_send_timeout_s=SEND_S,
    )
    yield service
    await _truncate(service)
    assert await puts_and_gets(service)
    assert "Traceback" not in service.log


async def _ends_in_time(sock: socket.socket, limit_s: float) -> bytes:
    began = time.monotonic()
    answer = await asyncio.to_thread(rest_of, sock)
    assert time.monotonic() - began < limit_s + LATE_S
    return answer


@pytest.mark.parametrize("start", SLOW_HEADS)
async def test_a_head_that_does_not_come_ends_its_connection(
    service: QueueServiceProcess, start: bytes
) -> None:
    with dial(service) as sock:
        sock.sendall(start)
        answer = await _ends_in_time(sock, HEADER_S)
    # A client that has begun a request gets the reason.
    assert answer.startswith(b"HTTP/1.1 408 ") if start else not answer
    assert await metric(service, "penstock_slow_heads_total") == 1


async def test_a_head_that_is_dribbled_in_gets_no_more_time_than_another(
    service: QueueServiceProcess,
) -> None:
    with dial(service) as sock:
        sock.settimeout(INTERVAL_S)
        sock.sendall(PUT)
        # The second request on a connection, which may have waited for long before.
        answer, end = b"", time.monotonic() + HEADER_S + LATE_S
        sock.sendall(b"GET /healthz HTTP/1.1\r\nX-Pad: ")
        while b"HTTP/1.1 408" not in answer:
            assert time.monotonic() < end, "the dribbling was not ended"
            try:
                sock.send(b"x")
                answer += await asyncio.to_thread(sock.recv, 4096)
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert await _count(service) == 1


async def test_a_body_that_is_dribbled_in_gets_no_more_time_than_another(
    service: QueueServiceProcess,
) -> None:
    with dial(service) as sock:
        sock.settimeout(INTERVAL_S)
        sock.sendall(PUT.removesuffix(b"payload"))
        answer, end = b"", time.monotonic() + BODY_S + LATE_S
        head, length = PUT.removesuffix(b"payload"), b"Content-Length: 7"
        sock.sendall(b"payload" + head.replace(length, b"Content-Length: 9999"))
        while b"HTTP/1.1 408" not in answer:
            assert time.monotonic() < end, "the dribbling was not ended"
            try:
                sock.send(b"x")
                answer += await asyncio.to_thread(sock.recv, 4096)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_connection_that_is_kept_for_nothing_ends(service: QueueServiceProcess) -> None:
    with dial(service) as sock:
        sock.sendall(PUT)
        answer = await _ends_in_time(sock, KEEPALIVE_S)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.startswith(b"HTTP/1.1 200 ")


async def _put_large(service: QueueServiceProcess, count: int) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        for _ in range(count):
            address = f"{service.url}{names.EAS_PREFIX}/svc"
            async with session.post(address, data=b"x" * 1024 * 1024) as answer:
                assert answer.status == 200


async def _count(service: QueueServiceProcess) -> int:
    async with (
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
        session.get(f"{service.url}{names.EAS_PREFIX}/svc?_count_=true") as answer,
    ):
        return int(await answer.text())


async def _truncate(service: QueueServiceProcess) -> None:
    async with (
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
        session.delete(
            f"{service.url}{names.EAS_PREFIX}/svc?_trunc_=true&_index_={2**62}"
        ) as answer,
    ):
        assert answer.status == 200


async def test_an_answer_that_nobody_reads_ends_and_what_it_had_taken_is_seen_again(
    service: QueueServiceProcess,
) -> None:
    await _put_large(service, 8)
    with tiny_reader(service) as sock:
        query = f"{names.LENGTH}=8&{names.RAW}=false&{names.AUTO_DELETE}=true"
        sock.sendall(
            f"GET {names.EAS_PREFIX}/svc?{query} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: {TOKEN}\r\n\r\n".encode()
        )

        async def ended() -> bool:
            return await metric(service, "penstock_slow_readers_total") == 1

        await wait_until(ended, "the connection is ended", SEND_S + LATE_S)
    assert await _count(service) == 8
    async with (
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
        session.get(f"{service.url}{names.EAS_PREFIX}/svc?_auto_delete_=true") as answer,
    ):
        assert len(await answer.read()) == 1024 * 1024


async def test_a_watch_that_reads_nothing_ends_and_what_it_held_goes_to_others(
    service: QueueServiceProcess,
) -> None:
    await _put_large(service, 16)
    with tiny_reader(service) as sock:
        sock.sendall(
            f"GET {names.EAS_PREFIX}/svc?_watch_=true&_window_=16 HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: {TOKEN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            "".encode()
        )

        async def ended() -> bool:
            # A sign of life, as a client sends it which is busy: its lease goes on.
            sock.send(b"\x89\x80\x00\x00\x00\x00")
            return await metric(service, "penstock_slow_readers_total") == 1

        await wait_until(ended, "the watch is ended", SEND_S + LATE_S)
    seen: set[int] = set()
    headers = {"Authorization": TOKEN, names.USER_HEADER: "another"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(
            f"{service.url}{names.EAS_PREFIX}/svc?_watch_=true&_window_=16", max_msg_size=0
        ) as watch,
    ):
        while len(seen) < 16:
            message = await watch.receive(timeout=60)
            assert message.type is aiohttp.WSMsgType.BINARY
            seen.add(decode(message.data).index)
