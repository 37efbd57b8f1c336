"""Bad WebSocket input on the watch and on the worker API: closed with a code, nothing lost."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from client_sdk.wire import names, versions, worker
from client_sdk.wire.codes import CloseCode, Code
from client_sdk.wire.events import PROGRESS, Event, Events
from tests.queue_service.conftest import Stored
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("emptied", "neighbour")

#: Seconds until the service must have said or closed something.
SOON_S = 5.0

GARBAGE = b"\xff\xff\xff\xff this is no protobuf"


@asynccontextmanager
async def _watch(
    session: aiohttp.ClientSession, eas: str, uid: str = "u1"
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    query = {names.WATCH: "true", names.WINDOW: "5"}
    headers = {names.USER_HEADER: uid}
    async with session.ws_connect(f"{eas}/svc", params=query, headers=headers) as socket:
        yield socket


@asynccontextmanager
async def _worker(
    session: aiohttp.ClientSession,
    eas: str,
    service: str = "worked",
    *,
    uid: str = "w1",
    hello: bool = True,
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    path = names.WORK_PATH.format(service=service)
    async with session.ws_connect(f"{eas.removesuffix(names.EAS_PREFIX)}{path}") as socket:
        if hello:
            await socket.send_bytes(worker.encode_from_worker(worker.Hello(uid=uid, window=5)))
            assert isinstance(await _message(socket), worker.Welcome)
        yield socket


async def _message(socket: aiohttp.ClientWebSocketResponse) -> worker.ToWorker:
    received = await socket.receive(timeout=SOON_S)
    assert received.type is aiohttp.WSMsgType.BINARY, received
    return worker.decode_to_worker(received.data)


async def _is_closed(socket: aiohttp.ClientWebSocketResponse, code: CloseCode) -> None:
    """Check that the service closes the socket next, with this code and a sentence."""
    received = await socket.receive(timeout=SOON_S)
    assert received.type is aiohttp.WSMsgType.CLOSE, received
    assert received.data == code
    assert received.extra, "the close frame has no reason"


async def _put(session: aiohttp.ClientSession, address: str, data: bytes = b"x") -> int:
    async with session.post(address, data=data) as answer:
        assert answer.status == 200
        return int(await answer.text())


async def _comes_to_another_watch(session: aiohttp.ClientSession, eas: str, index: int) -> None:
    """Check that the entry goes out again, and commit it."""
    async with _watch(session, eas, uid="another") as watch:
        received = await watch.receive(timeout=SOON_S)
        assert received.type is aiohttp.WSMsgType.BINARY
        headers = {names.USER_HEADER: "another"}
        async with session.put(f"{eas}/svc?_indexes_={index}", headers=headers) as answer:
            assert answer.status == 200


async def _comes_to_another_worker(session: aiohttp.ClientSession, eas: str, index: int) -> None:
    """Check that the entry goes out again, as its second delivery, and complete it."""
    async with _worker(session, eas, uid="another") as socket:
        message = await _message(socket)
        assert isinstance(message, worker.Deliveries)
        (delivery,) = message.deliveries
        assert (delivery.index, delivery.attempt) == (index, 2)
        (outcome,) = await _say(socket, worker.Completions((worker.Completion(index, 2, None),)))
        assert outcome.accepted


async def _say(
    socket: aiohttp.ClientWebSocketResponse, message: worker.FromWorker
) -> tuple[worker.Outcome, ...]:
    """Send answers and return what became of them."""
    await socket.send_bytes(worker.encode_from_worker(message))
    outcomes = await _message(socket)
    assert isinstance(outcomes, worker.Outcomes)
    return outcomes.outcomes


async def test_text_on_a_watch_closes_it_and_what_it_held_goes_to_another(
    session: aiohttp.ClientSession, eas: str, stored: Stored
) -> None:
    index = await _put(session, f"{eas}/svc")
    async with _watch(session, eas) as watch:
        await watch.receive(timeout=SOON_S)
        await watch.send_str("hello")
        await _is_closed(watch, CloseCode.UNSUPPORTED)
    await _comes_to_another_watch(session, eas, index)
    assert await stored.entries() == 0


async def test_text_on_the_worker_api_closes_it(session: aiohttp.ClientSession, eas: str) -> None:
    async with _worker(session, eas, hello=False) as socket:
        await socket.send_str("hello")
        await _is_closed(socket, CloseCode.UNSUPPORTED)


async def test_text_after_hello_closes_the_worker_and_what_it_held_goes_to_another(
    session: aiohttp.ClientSession, eas: str, stored: Stored
) -> None:
    index = await _put(session, f"{eas}/worked")
    async with _worker(session, eas) as socket:
        assert isinstance(await _message(socket), worker.Deliveries)
        await socket.send_str("done")
        await _is_closed(socket, CloseCode.UNSUPPORTED)
    await _comes_to_another_worker(session, eas, index)
    assert await stored.entries() == 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GARBAGE, id="garbage"),
        pytest.param(b"", id="an empty message"),
        pytest.param(worker.encode_from_worker(worker.Renew()), id="no Hello first"),
        pytest.param(worker.encode_from_worker(worker.Hello(uid="", window=5)), id="no uid"),
        pytest.param(
            worker.encode_from_worker(worker.Hello(uid="w1", window=2_000_000_000)),
            id="a window above the limit",
        ),
        pytest.param(
            worker.encode_from_worker(worker.Hello(uid="w1", window=5))[:-1], id="a Hello cut off"
        ),
    ],
)
async def test_a_worker_that_does_not_begin_with_a_hello_is_closed(
    session: aiohttp.ClientSession, eas: str, stored: Stored, data: bytes
) -> None:
    before = await stored.keys()
    async with _worker(session, eas, hello=False) as socket:
        await socket.send_bytes(data)
        await _is_closed(socket, CloseCode.BAD_MESSAGE)
    assert await stored.gained(before) == {}


async def test_a_worker_of_an_older_protocol_is_refused_and_a_newer_one_decides_itself(
    session: aiohttp.ClientSession, eas: str, stored: Stored
) -> None:
    before = await stored.keys()
    async with _worker(session, eas, hello=False) as socket:
        hello = worker.Hello(uid="w1", window=5, protocol=versions.OLDEST_PROTOCOL - 1)
        await socket.send_bytes(worker.encode_from_worker(hello))
        await _is_closed(socket, CloseCode.VERSION_MISMATCH)
    async with _worker(session, eas, hello=False) as socket:
        hello = worker.Hello(uid="w1", window=5, protocol=versions.PROTOCOL + 1)
        await socket.send_bytes(worker.encode_from_worker(hello))
        welcome = await _message(socket)
        assert isinstance(welcome, worker.Welcome)
        assert welcome.protocol == versions.PROTOCOL

    async def nothing_stays() -> bool:
        return not await stored.gained(before)

    await wait_until(nothing_stays, "nothing of the newer worker is left")


async def test_garbage_after_hello_closes_the_worker_and_what_it_held_goes_to_another(
    session: aiohttp.ClientSession, eas: str, stored: Stored
) -> None:
    index = await _put(session, f"{eas}/worked")
    async with _worker(session, eas) as socket:
        assert isinstance(await _message(socket), worker.Deliveries)
        await socket.send_bytes(GARBAGE)
        await _is_closed(socket, CloseCode.BAD_MESSAGE)
    await _comes_to_another_worker(session, eas, index)
    assert await stored.entries() == 0


async def test_an_answer_for_what_was_never_delivered_is_refused(
    session: aiohttp.ClientSession, eas: str, stored: Stored
) -> None:
    result = worker.Result(b"out of nothing")
    async with _worker(session, eas) as socket:
        for message in (
            worker.Completions((worker.Completion(12345, 1, result),)),
            worker.Rejections((worker.Rejection(12345, 1, "Failed"),)),
        ):
            (outcome,) = await _say(socket, message)
            assert outcome == worker.Outcome(12345, 1, False, Code.LEASE_LOST)
    assert await stored.entries() == 0


async def test_a_result_above_the_sinks_limit_is_refused_and_the_entry_is_kept(
    session: aiohttp.ClientSession, eas: str, stored: Stored
) -> None:
    index = await _put(session, f"{eas}/tight")
    async with _worker(session, eas, "tight") as socket:
        assert isinstance(await _message(socket), worker.Deliveries)
        too_big = worker.Completion(index, 1, worker.Result(b"x" * 1025))
        (outcome,) = await _say(socket, worker.Completions((too_big,)))
        assert (outcome.accepted, outcome.code) == (False, Code.FRAME_TOO_BIG)
        assert await stored.entries() == 1

        # The worker still holds it, so it can say something smaller.
        smaller = worker.Completion(index, 1, worker.Result(b"the error"))
        (outcome,) = await _say(socket, worker.Completions((smaller,)))
        assert outcome.accepted
    async with session.get(f"{eas}/tight/sink") as answer:
        assert await answer.read() == b"the error"


@pytest.mark.parametrize(
    ("service", "headers", "refusal"),
    [
        ("worked", {"Authorization": "wrong"}, (401, Code.UNAUTHORIZED)),
        ("nobody", {}, (404, Code.NO_SUCH_SERVICE)),
    ],
)
async def test_a_worker_is_refused_before_its_connection_is_made(
    session: aiohttp.ClientSession,
    eas: str,
    service: str,
    headers: dict[str, str],
    refusal: tuple[int, Code],
) -> None:
    url = f"{eas.removesuffix(names.EAS_PREFIX)}{names.WORK_PATH.format(service=service)}"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await session.ws_connect(url, headers=headers)
    assert refused.value.headers is not None
    code = refused.value.headers[names.ERROR_CODE_HEADER]
    assert (refused.value.status, code) == refusal


async def test_a_giant_message_closes_the_worker(
    session: aiohttp.ClientSession, eas: str, stored: Stored
) -> None:
    # It may be closed while it is still sending, and then cannot even say goodbye.
    with contextlib.suppress(ConnectionError):
        async with _worker(session, eas) as socket:
            with contextlib.suppress(ConnectionError):
                await socket.send_bytes(b"\x00" * (64 * 1024 * 1024))
            received = await socket.receive(timeout=SOON_S)
            assert received.type in {
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.ERROR,
            }

    async def forgotten() -> bool:
        return await stored.entries() == 0

    await wait_until(forgotten, "nothing is stored")


@pytest.mark.parametrize("data", [b"[" * 50_000, b'{"a":' * 9_000, b"7" * 5_000, b"\xff"])
async def test_an_event_that_is_no_object_closes_the_worker_with_a_reason(
    session: aiohttp.ClientSession, eas: str, stored: Stored, data: bytes
) -> None:
    index = await _put(session, f"{eas}/worked")
    async with _worker(session, eas) as socket:
        assert isinstance(await _message(socket), worker.Deliveries)
        event = Event(index, 1, "some-request", 1, PROGRESS, data)
        await socket.send_bytes(worker.encode_from_worker(Events((event,))))
        await _is_closed(socket, CloseCode.BAD_MESSAGE)
    await _comes_to_another_worker(session, eas, index)
    assert await stored.entries() == 0
