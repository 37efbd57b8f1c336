"""The asyncio client against a peer that fails in every way a network knows."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from client_sdk import AsyncQueueClient, RetryPolicy, errors
from client_sdk.calls import MAX_INDEXES
from client_sdk.websocket import open_websocket
from client_sdk.wire import frame as wire
from client_sdk.wire import names
from client_sdk.wire.frame import Frame
from deploy.local.redis_server import free_port
from tests.client_sdk.peers import CUT_OFF, HttpPeer, answer, serving

FAST = RetryPolicy(retries=4, first_delay_s=0.001, most_delay_s=0.01)


def stored(index: int = 1) -> web.Response:
    return answer(body=str(index).encode(), X_Eas_Queueservice_Request_Id="r")


@asynccontextmanager
async def client_of(
    peer: HttpPeer, *, retry: RetryPolicy = FAST, timeout_s: float = 5.0
) -> AsyncIterator[AsyncQueueClient]:
    async with (
        serving(peer.handle) as url,
        AsyncQueueClient(
            url, "svc", token="tok==", uid="u1", retry=retry, timeout_s=timeout_s
        ) as client,
    ):
        yield client


async def test_a_client_says_who_it_is_with_every_request() -> None:
    peer = HttpPeer([stored(7)])
    async with client_of(peer) as client:
        receipt = await client.put("héllo", tags={"a": "b c"})
    assert (receipt.index, receipt.request_id) == (7, "r")
    asked = peer.asked[0]
    assert (asked.method, asked.path, asked.body) == ("POST", "/api/predict/svc", b"h\xc3\xa9llo")
    assert asked.headers["Authorization"] == "tok=="
    assert asked.headers[names.USER_HEADER] == "u1"
    assert asked.headers[names.GROUP_HEADER] == "eas"
    assert asked.query["a"] == "b c"


async def test_the_sink_is_the_same_service_one_path_below() -> None:
    peer = HttpPeer([answer(204), answer(body=b"OK")])
    async with client_of(peer) as client:
        assert await client.sink.get() == []
        await client.sink.commit([1, 2])
    assert [asked.path for asked in peer.asked] == ["/api/predict/svc/sink"] * 2


async def test_a_request_id_is_the_key_of_its_put_in_the_input_and_not_in_the_sink() -> None:
    peer = HttpPeer([stored(), stored(), stored()])
    async with client_of(peer) as client:
        await client.put(b"", request_id="r")
        await client.sink.put(b"", request_id="r")
        await client.put(b"", request_id="r", idempotency_key="k")
    keys = [asked.headers[names.IDEMPOTENCY_HEADER] for asked in peer.asked]
    assert (keys[0], keys[2]) == ("r", "k")
    assert keys[1] not in {"r", "k"}


@pytest.mark.parametrize("failure", [CUT_OFF, 502, 503, 504])
async def test_a_put_is_repeated_under_one_key_and_one_request_id(failure: str | int) -> None:
    failures = [failure if isinstance(failure, str) else answer(failure) for _ in range(2)]
    peer = HttpPeer([*failures, stored()])
    async with client_of(peer) as client:
        await client.put(b"x" * 100)
    assert len(peer.asked) == 3
    assert len({asked.headers[names.IDEMPOTENCY_HEADER] for asked in peer.asked}) == 1
    assert len({asked.query["requestId"] for asked in peer.asked}) == 1
    assert {asked.body for asked in peer.asked} == {b"x" * 100}


async def test_a_large_body_is_sent_whole_at_every_attempt() -> None:
    large = bytes(range(256)) * 8192
    peer = HttpPeer([answer(503), stored()])
    async with client_of(peer) as client:
        await client.put(large)
    assert [asked.body == large for asked in peer.asked] == [True, True]


async def test_the_last_failure_is_raised_when_patience_ends() -> None:
    peer = HttpPeer(
        [answer(503, b"Redis is away", Error_Code="STORE_UNAVAILABLE") for _ in range(5)]
    )
    async with client_of(peer) as client:
        with pytest.raises(errors.StoreUnavailable) as caught:
            await client.put(b"")
    assert len(peer.asked) == 1 + FAST.retries
    assert (caught.value.status, caught.value.sentence) == (503, "Redis is away")


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (400, errors.BadParameter),
        (401, errors.Unauthorized),
        (404, errors.NotFound),
        (413, errors.FrameTooBig),
        (429, errors.QueueFull),
        (500, errors.ServerFault),
        (302, errors.ServerFault),
    ],
)
async def test_a_refusal_is_raised_at_once(refusal: int, kind: type[errors.QueueError]) -> None:
    peer = HttpPeer([answer(refusal)])
    async with client_of(peer) as client:
        with pytest.raises(kind):
            await client.put(b"")
    assert len(peer.asked) == 1


async def test_a_full_queue_is_waited_for_only_when_told_so() -> None:
    peer = HttpPeer([answer(429), answer(429), stored()])
    patient = RetryPolicy(retries=4, first_delay_s=0.001, most_delay_s=0.01, when_full=True)
    async with client_of(peer, retry=patient) as client:
        await client.put(b"")
    assert len(peer.asked) == 3


@pytest.mark.parametrize("failure", [CUT_OFF, 502, 504])
async def test_a_deleting_get_whose_answer_is_lost_is_not_sent_again(failure: str | int) -> None:
    # The first answer leaves a kept connection behind: on such a one aiohttp itself would retry.
    peer = HttpPeer([answer(204), failure if isinstance(failure, str) else answer(failure)])
    async with client_of(peer) as client:
        assert await client.get() == []
        with pytest.raises(errors.AnswerLost):
            await client.get()
    assert len(peer.asked) == 2


async def test_without_retries_nothing_is_sent_twice() -> None:
    # Not by the HTTP library either, for which a DELETE on a kept connection may be repeated.
    peer = HttpPeer([answer(204), CUT_OFF, answer(401)])
    async with client_of(peer, retry=RetryPolicy(retries=0)) as client:
        assert await client.get() == []
        with pytest.raises(errors.ConnectionFailed):
            await client.delete(1)
    assert len(peer.asked) == 2


async def test_a_deleting_get_is_sent_again_when_the_service_did_nothing() -> None:
    peer = HttpPeer([answer(503, Error_Code="DRAINING"), answer(204)])
    async with client_of(peer) as client:
        assert await client.get() == []
    assert len(peer.asked) == 2


async def test_a_get_that_deletes_nothing_is_sent_again() -> None:
    frames = [Frame(1, {"requestId": "r"}, b"x")]
    peer = HttpPeer([CUT_OFF, answer(502), answer(body=wire.encode_list(frames))])
    async with client_of(peer) as client:
        assert await client.get(auto_delete=False) == frames


async def test_a_reject_whose_answer_is_lost_is_not_sent_again() -> None:
    peer = HttpPeer([answer(body=b"OK"), CUT_OFF])
    async with client_of(peer) as client:
        await client.commit(1)
        with pytest.raises(errors.AnswerLost):
            await client.reject(1)
    assert len(peer.asked) == 2


async def test_a_service_that_nobody_runs_is_a_failed_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with AsyncQueueClient(url, "svc", retry=FAST) as client:
            with pytest.raises(errors.ConnectionFailed) as caught:
                await client.get()
    assert not isinstance(caught.value, errors.AnswerLost)


@pytest.mark.parametrize(
    "url", ["queue:8080", "", "http://", "ftp://q", "http://q:port", "http://q?a=b", "http://[q"]
)
def test_what_is_no_url_is_said_so_at_once(url: str) -> None:
    with pytest.raises(errors.BadParameter, match="expected the URL of a queue service"):
        AsyncQueueClient(url, "svc")


async def test_an_answer_that_takes_too_long_is_a_failed_connection() -> None:
    stuck = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        await stuck.wait()
        return web.Response()

    async with (
        serving(never) as url,
        AsyncQueueClient(url, "svc", retry=RetryPolicy(retries=0), timeout_s=0.05) as client,
    ):
        with pytest.raises(errors.ConnectionFailed):
            await client.put(b"")
        with pytest.raises(errors.AnswerLost):
            await client.get(auto_delete=True)
        stuck.set()


async def test_an_answer_of_something_else_is_a_bad_message() -> None:
    peer = HttpPeer([answer(body=b"<html>")])
    async with client_of(peer) as client:
        with pytest.raises(errors.BadMessage, match="expected a decimal number"):
            await client.put(b"")


async def test_a_long_poll_is_made_of_requests_that_gateways_bear() -> None:
    peer = HttpPeer([answer(204), answer(204), answer(body=wire.encode_list([Frame(1)]))])
    async with client_of(peer) as client:
        assert await client.get(timeout_s=3600) == [Frame(1)]
    waits = [asked.query["_timeout_"] for asked in peer.asked]
    assert waits == ["20000ms"] * 3


async def test_a_short_poll_is_one_request() -> None:
    peer = HttpPeer([answer(204)])
    async with client_of(peer) as client:
        assert await client.get(timeout_s=0.3) == []
    assert [asked.query["_timeout_"] for asked in peer.asked] == ["300ms"]


async def test_many_commits_are_several_requests() -> None:
    peer = HttpPeer([answer(body=b"OK"), answer(body=b"OK")])
    async with client_of(peer) as client:
        await client.commit(range(1, MAX_INDEXES + 2))
    assert [asked.query["_indexes_"].count(",") + 1 for asked in peer.asked] == [MAX_INDEXES, 1]


async def test_a_closed_client_says_so() -> None:
    peer = HttpPeer()
    async with client_of(peer) as client:
        await client.close()
        await client.close()
        with pytest.raises(errors.Closed):
            await client.put(b"")
        assert [frame async for frame in client.watch()] == []


async def test_two_clients_have_different_names() -> None:
    first, second = AsyncQueueClient("http://q", "svc"), AsyncQueueClient("http://q", "svc")
    assert first.uid != second.uid


async def test_a_service_that_is_not_there_is_named_without_the_words_of_a_library() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with AsyncQueueClient(url, "svc", retry=RetryPolicy(retries=0)) as client:
        with pytest.raises(errors.ConnectionFailed) as put:
            await client.put(b"")
        with pytest.raises(errors.ConnectionFailed) as found:
            await open_websocket(client._transport.session, url, headers={}, timeout_s=5)
    for error in (put.value, found.value):
        assert error.sentence == f"cannot connect to 127.0.0.1:{port}: Connection refused"
