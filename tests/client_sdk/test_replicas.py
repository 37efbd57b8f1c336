"""Several replicas of one service: a client that loses one goes on with the next at once."""

import asyncio

import pytest
from aiohttp import web
from yarl import URL

from client_sdk import AsyncQueueClient, RetryPolicy, errors
from client_sdk.backoff import Backoff
from client_sdk.replicas import Reconnect, Replicas
from client_sdk.wire import names
from client_sdk.wire.codes import CloseCode, Code
from client_sdk.work import WorkConnection
from tests.client_sdk.peers import WorkPeer, answer, serving
from tests.running import free_port
from tests.waiting import wait_until

#: Waits that are longer than a test which is served in time.
LONG_S = 1000.0
PATIENT_RETRIES = RetryPolicy(first_delay_s=LONG_S, most_delay_s=LONG_S)


def patient() -> Backoff:
    return Backoff(LONG_S, LONG_S)


AWAY = errors.ConnectionFailed("away")


def test_urls_are_listed_with_commas_and_taken_in_turn() -> None:
    replicas = Replicas("http://a:1, http://b:2/,http://c:3")
    seen = []
    for _ in range(4):
        seen.append(replicas.current)
        replicas.pass_over(replicas.current)
    assert seen == ["http://a:1", "http://b:2", "http://c:3", "http://a:1"]


def test_two_that_lose_the_same_replica_go_on_to_the_same_next_one() -> None:
    replicas = Replicas("http://a:1,http://b:2")
    replicas.pass_over("http://a:1")
    replicas.pass_over("http://a:1")
    assert replicas.current == "http://b:2"


@pytest.mark.parametrize("urls", ["", "http://a:1,", "http://a:1,b:2"])
def test_a_list_with_something_else_than_urls_is_refused(urls: str) -> None:
    with pytest.raises(errors.BadParameter):
        Replicas(urls)


async def test_every_replica_is_tried_before_there_is_a_wait() -> None:
    replicas = Replicas("http://a:1,http://b:2,http://c:3")
    reconnect = Reconnect(replicas, patient())
    assert [reconnect.next_delay_s(AWAY) for _ in range(2)] == [0.0, 0.0]
    assert reconnect.next_delay_s(AWAY) > 0.0


async def test_a_sole_replica_that_goes_away_is_asked_again_at_once_but_once() -> None:
    reconnect = Reconnect(Replicas("http://a:1"), patient())
    going = errors.ConnectionFailed("it goes", status=CloseCode.GOING_AWAY)
    reconnect.connected()
    assert reconnect.next_delay_s(going) == 0.0
    assert reconnect.next_delay_s(going) > 0.0


async def test_a_store_that_is_away_for_all_replicas_is_not_asked_in_a_row() -> None:
    reconnect = Reconnect(Replicas("http://a:1,http://b:2"), patient())
    assert reconnect.next_delay_s(errors.StoreUnavailable("away")) > 0.0


async def test_a_put_goes_to_the_next_replica_when_one_is_away_or_stops() -> None:
    asked = []

    async def stopping(request: web.Request) -> web.Response:
        asked.append(await request.read())
        return answer(503, Error_Code=Code.DRAINING)

    async def good(request: web.Request) -> web.Response:
        asked.append(await request.read())
        return answer(200, b"7", **{names.REQUEST_ID_HEADER: "r"})

    away = f"http://127.0.0.1:{free_port()}"
    async with asyncio.timeout(30), serving(stopping) as first, serving(good) as second:
        urls = f"{away},{first},{second}"
        async with AsyncQueueClient(urls, "svc", retry=PATIENT_RETRIES) as client:
            assert (await client.put(b"one")).index == 7
            # The next call begins where the last one was answered.
            assert (await client.put(b"two")).index == 7
    assert asked == [b"one", b"one", b"two"]


async def test_a_watch_goes_on_at_the_next_replica_at_once() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if request.url.port == last.port:
            await socket.send_bytes(b"\x08\x07")
            await socket.receive()
        else:
            await socket.close(code=CloseCode.GOING_AWAY)
        return socket

    async with asyncio.timeout(30), serving(handle) as first, serving(handle) as second:
        last = URL(second)
        async with (
            AsyncQueueClient(f"{first},{second}", "svc", retry=PATIENT_RETRIES) as client,
            client.sink.watch() as frames,
        ):
            assert (await anext(frames)).index == 7


async def test_a_worker_goes_on_at_the_next_replica_at_once() -> None:
    one, two = WorkPeer(), WorkPeer()
    async with asyncio.timeout(30), serving(one.handle) as first, serving(two.handle) as second:
        urls = f"{first},{second}"
        async with WorkConnection(urls, "svc", uid="w", window=1, backoff=patient()) as connection:
            await connection.wait_connected()
            assert (len(one.hellos), len(two.hellos)) == (1, 0)
            await one.close(CloseCode.GOING_AWAY)
            await wait_until(lambda: len(two.hellos) == 1, "the worker is at the second replica")


async def test_a_worker_looks_for_a_replica_of_its_own_protocol() -> None:
    one, two = WorkPeer(protocol=0), WorkPeer()
    async with asyncio.timeout(30), serving(one.handle) as first, serving(two.handle) as second:
        urls = f"{first},{second}"
        async with WorkConnection(urls, "svc", uid="w", window=1, backoff=patient()) as connection:
            await connection.wait_connected()
            assert len(two.hellos) == 1
