"""More connections than one thinks of: the others are served, and the limit is kept."""

import asyncio
import socket

from queue_service.process.open_files import KEPT, connections_within
from tests.attacks.strangers import crowd, dial, metric, puts_and_gets, rest_of, rss_kb
from tests.conftest import StartService
from tests.waiting import wait_until

#: What the README and docs/limits.md say that one process bears.
MANY = 10_000

#: KiB of memory that one connection which says nothing may cost; docs/limits.md has the figure.
MOST_KB_EACH = 40

#: A service of which strangers can fill all connections quickly, without its spare ones.
FEW = 5
SPARE = 64


async def test_ten_thousand_idle_connections_leave_everybody_else_served(
    start_service: StartService,
) -> None:
    service = await start_service()
    assert await puts_and_gets(service)
    before_kb = rss_kb(service)
    strangers = crowd(service, MANY)
    await asyncio.to_thread(strangers.__enter__)
    try:

        async def all_are_in() -> bool:
            return await metric(service, "penstock_connections") > MANY

        await wait_until(all_are_in, f"{MANY} connections are open")
        assert await puts_and_gets(service)
        assert (rss_kb(service) - before_kb) / MANY < MOST_KB_EACH
    finally:
        await asyncio.to_thread(strangers.__exit__, None, None, None)

    async def nobody_is_left() -> bool:
        return await metric(service, "penstock_connections") < FEW

    await wait_until(nobody_is_left, "the connections are gone")
    assert await puts_and_gets(service)


async def test_above_the_limit_a_request_is_refused_and_health_is_still_told(
    start_service: StartService,
) -> None:
    service = await start_service(max_connections=FEW)
    with crowd(service, FEW) as strangers:
        for path, status in (("/healthz", b"200"), ("/readyz", b"200"), ("/", b"503")):
            with dial(service) as sock:
                sock.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
                answer = await asyncio.to_thread(rest_of, sock)
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert b"connection: close" in answer.lower()
            assert (b"OVERLOADED" in answer) == (status == b"503")
        # Each of these was answered and closed: the place is there for the next one.
        strangers.pop().close()

        async def served() -> bool:
            return await puts_and_gets(service)

        await wait_until(served, "the place that has become free is given to somebody")
    assert "above the limit" in service.log


async def test_far_above_the_limit_a_connection_is_refused_unheard(
    start_service: StartService,
) -> None:
    service = await start_service(max_connections=FEW)
    with crowd(service, FEW + SPARE), dial(service) as sock:
        answer = await asyncio.to_thread(rest_of, sock)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"OVERLOADED" in answer
    await wait_until(lambda: puts_and_gets(service), "everybody is served again")
    assert await metric(service, "penstock_refused_connections_total") >= 1


async def test_one_address_can_be_kept_from_taking_every_connection(
    start_service: StartService,
) -> None:
    service = await start_service(max_connections_per_address=FEW)
    with crowd(service, FEW), dial(service) as refused:
        assert b"OVERLOADED" in await asyncio.to_thread(rest_of, refused)
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.settimeout(10)
            other.connect(("127.0.0.1", service.port))
            other.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await asyncio.to_thread(rest_of, other)).startswith(b"HTTP/1.1 200")
    await wait_until(lambda: puts_and_gets(service), "the address has places again")


def test_connections_keep_within_the_open_files_that_the_system_grants() -> None:
    assert connections_within(20_000, 10_000) == 10_000
    assert connections_within(8192, 10_000) == 8192 - KEPT
    assert connections_within(256, 10_000) == 128
