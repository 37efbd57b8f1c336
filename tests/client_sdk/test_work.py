"""A worker's connection keeps its promises through everything that can happen to a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from client_sdk import errors
from client_sdk.backoff import Backoff
from client_sdk.wire import names
from client_sdk.wire.codes import CloseCode
from client_sdk.wire.worker import (
    Completion,
    Completions,
    Delivery,
    Held,
    Outcome,
    Rejection,
    Result,
    SetWindow,
)
from client_sdk.work import WorkConnection
from client_sdk.work_events import Lost, Stop
from tests.client_sdk.peers import WorkPeer, answer, serving
from tests.waiting import let_pass, wait_until


def delivery(index: int, attempt: int = 1) -> Delivery:
    return Delivery(index, attempt, f"request-{index}", b"work")


def completion(index: int, attempt: int = 1, data: bytes = b"done") -> Completion:
    return Completion(index, attempt, Result(data))


@asynccontextmanager
async def connected(peer: WorkPeer, window: int = 3) -> AsyncIterator[WorkConnection]:
    async with (
        serving(peer.handle) as url,
        WorkConnection(
            url,
            "group.svc",
            token="a token",
            uid="gpu-1",
            window=window,
            version="1.2",
            engine="echo",
            backoff=Backoff(0.01, 0.05),
        ) as connection,
    ):
        yield connection


async def took(connection: WorkConnection, count: int) -> list[Delivery | Lost | Stop]:
    async with asyncio.timeout(30):
        return [await anext(connection) for _ in range(count)]


async def test_a_worker_introduces_itself_with_its_token_uid_and_window() -> None:
    peer = WorkPeer()
    async with connected(peer, window=3) as connection:
        await connection.wait_connected()
        assert connection.statistics().connected
    hello = peer.hellos[0]
    assert (hello.uid, hello.window, hello.held) == ("gpu-1", 3, ())
    assert (hello.version, hello.engine) == ("1.2", "echo")
    assert peer.headers[0]["Authorization"] == "a token"
    assert peer.headers[0][":path"] == "/v1/services/group.svc/work"


async def test_a_delivery_that_is_completed_has_an_outcome() -> None:
    peer = WorkPeer()
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7))
        assert await took(connection, 1) == [delivery(7)]
        assert connection.statistics().working == 1
        assert await connection.complete(completion(7)) == Outcome(7, 1, True)
        assert connection.statistics().working == 0
        assert connection.statistics().unconfirmed == 0


async def test_a_refused_answer_says_why() -> None:
    peer = WorkPeer(verdict=lambda index: False)
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7))
        await took(connection, 1)
        outcome = await connection.reject(Rejection(7, 1, "Broken"))
        assert outcome == Outcome(7, 1, False, "LEASE_LOST")


async def test_answers_given_in_one_turn_of_the_loop_leave_in_one_message() -> None:
    peer = WorkPeer()
    async with connected(peer, window=50) as connection:
        await connection.wait_connected()
        await peer.deliver(*(delivery(index) for index in range(1, 51)))
        await took(connection, 50)
        outcomes = await asyncio.gather(
            *(connection.complete(completion(index)) for index in range(1, 51))
        )
        assert all(outcome.accepted for outcome in outcomes)
    messages = [message for message in peer.said if isinstance(message, Completions)]
    assert [len(message.completions) for message in messages] == [50]


async def test_an_answer_to_something_not_held_is_refused_here_and_not_sent() -> None:
    peer = WorkPeer()
    async with connected(peer) as connection:
        await connection.wait_connected()
        assert await connection.complete(completion(9)) == Outcome(9, 1, False, "LEASE_LOST")
    assert peer.answers() == []


async def test_a_second_answer_to_one_delivery_is_refused() -> None:
    peer = WorkPeer()
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7))
        await took(connection, 1)
        first, second = await asyncio.gather(
            connection.complete(completion(7)), connection.reject(Rejection(7, 1, "Shutdown"))
        )
        assert (first.accepted, second.accepted) == (True, False)
    assert peer.answers() == [(7, 1)]


async def test_a_malformed_answer_hurts_its_giver_alone() -> None:
    peer = WorkPeer()
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7), delivery(8))
        await took(connection, 2)
        bad = Completion(7, 1, Result("text"))  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await connection.complete(bad)
        assert (await connection.complete(completion(8))).accepted
        assert (await connection.complete(completion(7))).accepted


async def test_the_lease_is_renewed_every_third_of_it() -> None:
    peer = WorkPeer(lease_ms=300)
    async with connected(peer):
        await wait_until(lambda: peer.renewals() >= 3, "three renewals came")
    assert len(peer.hellos) == 1


async def test_a_window_can_be_changed_and_is_kept_over_a_reconnect() -> None:
    peer = WorkPeer()
    async with connected(peer) as connection:
        await connection.wait_connected()
        connection.set_window(0)
        await wait_until(lambda: SetWindow(0) in peer.said, "the new window came")
        peer.abort()
        await wait_until(lambda: len(peer.hellos) == 2, "the worker is back")
    assert peer.hellos[1].window == 0


@pytest.mark.parametrize("how", ["abort", CloseCode.GOING_AWAY, CloseCode.STORE_UNAVAILABLE, 1012])
async def test_a_broken_connection_comes_back_and_claims_what_is_held(how: str | int) -> None:
    peer = WorkPeer()
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7), delivery(8, attempt=2))
        await took(connection, 2)
        if isinstance(how, int):
            await peer.close(how)
        else:
            peer.abort()
        await wait_until(lambda: len(peer.hellos) == 2, "the worker is back")
        assert peer.hellos[1].held == (Held(7, 1), Held(8, 2))
        assert (await connection.complete(completion(7))).accepted


async def test_an_answer_without_an_outcome_is_sent_again_after_a_reconnect() -> None:
    peer = WorkPeer(verdict=lambda index: None)
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7), delivery(8))
        await took(connection, 2)
        answers = asyncio.gather(
            connection.complete(completion(7)), connection.reject(Rejection(8, 1, "Broken"))
        )
        await wait_until(lambda: len(peer.answers()) == 2, "both answers came")
        peer.verdict = lambda index: True
        peer.abort()
        assert [outcome.accepted for outcome in await answers] == [True, True]
    assert sorted(peer.answers()) == [(7, 1), (7, 1), (8, 1), (8, 1)]
    assert peer.hellos[1].held == (Held(7, 1), Held(8, 1))


async def test_answers_given_while_nobody_is_there_arrive_later() -> None:
    peer = WorkPeer()
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7))
        await took(connection, 1)
        peer.refuse = [answer(503), answer(503), answer(502)]
        peer.abort()
        await wait_until(lambda: not peer.refuse, "the worker was refused three times")
        assert (await connection.complete(completion(7))).accepted


async def test_a_delivery_lost_while_away_is_reported_and_a_late_result_stays_here() -> None:
    peer = WorkPeer()
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7), delivery(8))
        await took(connection, 2)
        peer.lost = (Held(7, 1),)
        peer.abort()
        assert await took(connection, 1) == [Lost((Held(7, 1),))]
        assert await connection.complete(completion(7)) == Outcome(7, 1, False, "LEASE_LOST")
        assert (await connection.complete(completion(8))).accepted
    assert peer.answers() == [(8, 1)]


async def test_a_lost_delivery_that_the_owner_never_saw_simply_does_not_come() -> None:
    peer = WorkPeer()
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7))
        await wait_until(lambda: connection.statistics().working == 1, "the delivery is here")
        peer.lost = (Held(7, 1),)
        peer.abort()
        await wait_until(lambda: connection.statistics().connections == 2, "the worker is back")
        await peer.deliver(delivery(7, attempt=2))
        assert await took(connection, 1) == [delivery(7, attempt=2)]


async def test_an_unconfirmed_answer_to_a_lost_delivery_is_refused() -> None:
    peer = WorkPeer(verdict=lambda index: None)
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7))
        await took(connection, 1)
        answering = asyncio.create_task(connection.complete(completion(7)))
        await wait_until(lambda: peer.answers() == [(7, 1)], "the answer came")
        peer.lost = (Held(7, 1),)
        peer.abort()
        assert await answering == Outcome(7, 1, False, "LEASE_LOST")
    assert peer.answers() == [(7, 1)]


async def test_silence_for_longer_than_the_lease_counts_as_broken() -> None:
    peer = WorkPeer(lease_ms=150, pings=False)
    async with connected(peer):
        await wait_until(lambda: len(peer.hellos) >= 2, "the worker connected again")


async def test_pings_alone_keep_a_connection_that_has_nothing_to_do() -> None:
    peer = WorkPeer(lease_ms=450)
    async with connected(peer) as connection:
        await wait_until(lambda: peer.renewals() >= 9, "three leases have passed")
        assert connection.statistics().connections == 1


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (answer(401, Error_Code="UNAUTHORIZED"), errors.Unauthorized),
        (answer(404, Error_Code="NO_SUCH_SERVICE"), errors.NoSuchService),
        (answer(400, Error_Code="BAD_PARAMETER"), errors.BadParameter),
        # Without a word of ours it is a proxy's.
        (answer(400), errors.NoUpgrade),
        (answer(403), errors.Forbidden),
    ],
)
async def test_a_refusal_that_no_patience_cures_ends_the_iteration(
    refusal: web.Response, error: type[errors.QueueError]
) -> None:
    peer = WorkPeer(refuse=[refusal])
    async with connected(peer) as connection:
        with pytest.raises(error):
            await took(connection, 1)
        with pytest.raises(error):
            await connection.complete(completion(7))
        assert not connection.statistics().connected


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (CloseCode.TAKEN_OVER, errors.TakenOver),
        (CloseCode.BAD_MESSAGE, errors.BadMessage),
        (CloseCode.UNSUPPORTED, errors.BadMessage),
    ],
)
async def test_a_close_that_would_come_again_ends_the_iteration(
    code: int, error: type[errors.QueueError]
) -> None:
    peer = WorkPeer(verdict=lambda index: None)
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7))
        await took(connection, 1)
        answering = asyncio.create_task(connection.complete(completion(7)))
        await wait_until(lambda: peer.answers() == [(7, 1)], "the answer came")
        await peer.close(code)
        with pytest.raises(error):
            await answering
        with pytest.raises(error):
            await took(connection, 1)
    assert len(peer.hellos) == 1


async def test_a_service_that_is_not_there_yet_is_waited_for() -> None:
    peer = WorkPeer(refuse=[answer(503, Error_Code="STORE_UNAVAILABLE") for _ in range(4)])
    async with connected(peer) as connection:
        async with asyncio.timeout(30):
            await connection.wait_connected()
    assert len(peer.headers) == 5


async def test_a_result_above_the_limit_is_handed_back_and_the_others_arrive() -> None:
    peer = WorkPeer(max_msg_size=10_000)
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(1), delivery(2), delivery(3))
        await took(connection, 3)
        outcomes = await asyncio.gather(
            connection.complete(completion(1)),
            connection.complete(completion(2, data=b"x" * 20_000)),
            connection.complete(completion(3)),
        )
        assert [outcome.code for outcome in outcomes] == ["", "FRAME_TOO_BIG", ""]
        # It is still ours: something smaller is taken.
        assert connection.statistics().working == 1
        assert (await connection.complete(completion(2))).accepted


async def test_closing_ends_the_iteration_and_every_waiting_call() -> None:
    peer = WorkPeer(verdict=lambda index: None)
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7))
        await took(connection, 1)
        answering = asyncio.create_task(connection.complete(completion(7)))
        await wait_until(lambda: peer.answers() == [(7, 1)], "the answer came")
        await connection.close()
        with pytest.raises(errors.Closed):
            await answering
        assert [event async for event in connection] == []
        await connection.close()


async def test_a_caller_that_stops_waiting_for_an_outcome_affects_no_other() -> None:
    peer = WorkPeer(verdict=lambda index: None)
    async with connected(peer) as connection:
        await connection.wait_connected()
        await peer.deliver(delivery(7), delivery(8))
        await took(connection, 2)
        answering = asyncio.create_task(connection.complete(completion(7)))
        await wait_until(lambda: peer.answers() == [(7, 1)], "the answer came")
        answering.cancel()
        peer.verdict = lambda index: True
        peer.abort()
        assert (await connection.complete(completion(8))).accepted
        await wait_until(lambda: connection.statistics().unconfirmed == 0, "all is confirmed")


def test_the_header_of_the_error_code_is_the_contracts() -> None:
    assert answer(400, Error_Code="X").headers[names.ERROR_CODE_HEADER] == "X"


async def test_a_worker_waits_no_longer_than_two_seconds_from_one_try_to_the_next() -> None:
    connection = WorkConnection("http://127.0.0.1:1", "svc", window=1)
    refused = errors.ConnectionFailed("refused")
    delays_s = [connection._reconnect.next_delay_s(refused) for _ in range(100)]
    assert max(delays_s) <= 2.0


async def test_close_ends_a_connection_that_breaks_in_the_same_moment() -> None:
    """With each moment between the peer's close and its end, in turns of the event loop."""
    for turns in range(25):
        peer = WorkPeer()
        async with serving(peer.handle) as url:
            connection = WorkConnection(url, "svc", window=1, backoff=Backoff(0.01, 0.05))
            connection.start()
            await connection.wait_connected()
            assert peer.socket is not None
            breaking = asyncio.create_task(peer.socket.close(code=CloseCode.STORE_UNAVAILABLE))
            for _ in range(turns):
                await let_pass(0)
            async with asyncio.timeout(30):
                await connection.close()
            await breaking
