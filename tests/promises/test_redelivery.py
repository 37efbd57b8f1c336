"""Deliveries that end without a commit: counted, fenced, and ended by the policy."""

import asyncio

import pytest

from client_sdk.wire import names
from client_sdk.wire import worker as wire
from tests.conftest import Serve
from tests.promises.conftest import Client, Peers, Watchers
from tests.promises.peer import Peer
from tests.waiting import hold_for, wait_until


async def _has_answered(peer: Peer, count: int) -> None:
    await wait_until(lambda: len(peer.outcomes) == count, "its answer is judged")


async def _keeps(peer: Peer, count: int) -> None:
    await hold_for(0.1, lambda: len(peer.held) == count, "nothing more comes")


@pytest.mark.parametrize("policy", ["Rear", "Drop"])
async def test_at_max_delivery_the_policy_ends_the_entry(
    serve: Serve, client: Client, peers: Peers, policy: str
) -> None:
    url = await serve({"name": "svc", "max_delivery": 2, "dead_message_policy": policy})
    client.url = url
    peer = peers.make(1)
    await peer.connect(url)
    first, request_id = await client.put(b"x", colour="red")
    for attempt in (1, 2):
        await wait_until(lambda: first in peer.held, "it comes")
        assert peer.held[first].attempt == attempt
        await peer.reject(first)
        await _has_answered(peer, attempt)

    if policy == "Drop":
        await wait_until(lambda: client.has_length(0), "it is gone")
        assert len(peer.handed) == 2
        return
    await wait_until(lambda: peer.held, "it comes from the rear")
    (delivery,) = peer.held.values()
    assert delivery.index > first
    assert (delivery.attempt, delivery.request_id) == (1, request_id)
    assert delivery.tags == {"colour": "red", names.REQUEST_ID_TAG: request_id}
    await peer.complete(delivery.index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")


async def test_crashes_count_as_deliveries(serve: Serve, client: Client, peers: Peers) -> None:
    url = await serve({"name": "svc", "max_delivery": 3, "dead_message_policy": "Drop"})
    client.url = url
    peer = peers.make(1)
    await client.put(b"x")
    for attempt in (1, 2, 3):
        await peer.connect(url)
        await wait_until(lambda: peer.held, "it comes")
        assert [item.attempt for item in peer.held.values()] == [attempt]
        await peer.vanish()
    await peer.connect(url)
    await wait_until(lambda: client.has_length(0), "it is dropped")
    assert len(peer.handed) == 3


async def test_a_shutdown_does_not_count(serve: Serve, client: Client, peers: Peers) -> None:
    url = await serve({"name": "svc", "max_delivery": 1, "dead_message_policy": "Drop"})
    client.url = url
    peer = peers.make(1)
    await peer.connect(url)
    index, _ = await client.put(b"x")
    for count in range(1, 5):
        await wait_until(lambda: index in peer.held, "it comes")
        assert peer.held[index].attempt == 1
        await peer.reject(index, "Shutdown")
        await _has_answered(peer, count)
    await wait_until(lambda: index in peer.held, "it comes again")
    await peer.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")


@pytest.mark.parametrize("claimed", ["another worker's", "an earlier attempt", "a deleted one"])
async def test_a_stale_answer_is_refused_and_changes_nothing(
    url: str, client: Client, peers: Peers, claimed: str
) -> None:
    client.url = url
    peer, other = peers.make(1), peers.make(1)
    await peer.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in peer.held, "it comes")
    sender, attempt = peer, 1
    if claimed == "another worker's":
        await other.connect(url)
        sender = other
    elif claimed == "an earlier attempt":
        await peer.reject(index)
        await wait_until(lambda: index in peer.held, "it comes again")
        peer.outcomes.clear()
    else:
        await client.truncate()

    done = wire.Completion(index, attempt, wire.Result(b"stale"))
    await sender.send(wire.Completions((done,)))

    await wait_until(lambda: sender.outcomes, "the answer is judged")
    assert [outcome.accepted for outcome in sender.outcomes] == [False]
    assert await client.length("/sink") == 0
    if claimed != "a deleted one":
        await peer.complete(index)
        await wait_until(lambda: client.has_length(1, "/sink"), "the real one is stored")
        assert [frame.data for frame in await client.read(5)] == [b"x"]


async def test_a_shrunken_window_is_not_filled_until_enough_has_been_answered(
    url: str, client: Client, peers: Peers
) -> None:
    client.url = url
    peer = peers.make(5)
    await peer.connect(url)
    for _ in range(10):
        await client.put(b"x")
    await wait_until(lambda: len(peer.held) == 5, "the window is full")
    await peer.send(wire.SetWindow(2))
    for left in (4, 3, 2):
        await peer.complete(next(iter(peer.held)))
        await _keeps(peer, left)
    await peer.complete(next(iter(peer.held)))
    await wait_until(lambda: len(peer.handed) == 6, "now one more comes")
    await peer.send(wire.SetWindow(0))
    await hold_for(0.1, lambda: len(peer.held) == 2, "a shut window gets nothing")
    await peer.complete(*peer.held)
    await wait_until(lambda: len(peer.outcomes) == 6, "all are answered")
    await hold_for(0.2, lambda: not peer.held, "a shut window gets nothing")
    await client.truncate()
    await client.truncate("/sink")


async def test_a_reconnecting_watcher_gets_its_own_and_others_do_not(
    url: str, client: Client, watchers: Watchers
) -> None:
    client.url = url
    one, other = watchers.make(url), watchers.make(url)
    await one.watch(window=3)
    indexes = [(await client.put(b"x"))[0] for _ in range(3)]
    await wait_until(lambda: one.indexes == indexes, "the first has all")
    await other.watch(window=3)

    await one.close()
    one.frames.clear()
    await one.watch(window=3)

    await wait_until(lambda: one.indexes == indexes, "it has them again")
    await hold_for(0.8, lambda: not other.frames, "the other gets none of them")
    await one.commit(*indexes)
    assert await client.length() == 0


async def test_what_a_smaller_window_leaves_goes_to_others(
    url: str, client: Client, watchers: Watchers
) -> None:
    client.url = url
    one, other = watchers.make(url), watchers.make(url)
    await one.watch(window=100)
    indexes = [(await client.put(b"x"))[0] for _ in range(100)]
    await wait_until(lambda: one.indexes == indexes, "the first has all")
    await other.watch(window=200)

    await one.close()
    one.frames.clear()
    await one.watch(window=2)

    await wait_until(lambda: len(one.frames) + len(other.frames) == 100, "all are handed out")
    assert len(one.frames) <= 2
    await client.truncate()


async def test_two_groups_each_get_everything_and_the_last_commit_removes(
    url: str, client: Client, watchers: Watchers
) -> None:
    client.url = url
    one, other = watchers.make(url, gid="one"), watchers.make(url, gid="other")
    await one.watch()
    await other.watch()
    indexes = [(await client.put(b"x"))[0] for _ in range(4)]
    await wait_until(lambda: one.indexes == other.indexes == indexes, "both have all")

    await one.commit(*indexes)
    assert await client.length() == 4
    await other.commit(*indexes[:3])
    assert await client.length() == 1
    await other.close()

    await wait_until(lambda: client.has_length(0), "what only the lost group owed goes with it")


async def test_an_entry_whose_reader_left_is_read_again(url: str, client: Client) -> None:
    client.url = url
    polls = [
        asyncio.create_task(
            client.session.get(
                f"{url}/api/predict/svc", params={"_timeout_": "9s", "_auto_delete_": "true"}
            )
        )
        for _ in range(5)
    ]
    await hold_for(0.2, lambda: not any(poll.done() for poll in polls), "they wait")
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    await client.put(b"x")

    await wait_until(lambda: client.has_length(1), "it is still there")

    async def read() -> bool:
        return len(await client.read(1, queue="")) == 1

    await wait_until(read, "and it can be read")
    assert await client.length() == 0


async def test_a_commit_of_what_another_user_holds_changes_nothing(
    url: str, client: Client, watchers: Watchers
) -> None:
    client.url = url
    one, other = watchers.make(url), watchers.make(url)
    await one.watch()
    index, _ = await client.put(b"x")
    await wait_until(lambda: one.indexes == [index], "it comes")

    await other.commit(index)

    assert await client.length() == 1
    await one.commit(index)
    assert await client.length() == 0


async def test_a_put_that_is_repeated_under_its_request_id_is_stored_once(
    url: str, client: Client
) -> None:
    client.url = url
    first = await client.put(b"x", requestId="the-one")
    assert await client.put(b"x", requestId="the-one") == first
    assert await client.length() == 1
    await client.truncate()


async def test_the_workers_group_is_owed_every_entry_while_no_worker_is_there(
    url: str, client: Client, watchers: Watchers, peers: Peers
) -> None:
    client.url = url
    peer, watcher = peers.make(1), watchers.make(url)
    await peer.connect(url)
    await peer.vanish()
    await watcher.watch()
    index, _ = await client.put(b"x")
    await wait_until(lambda: watcher.indexes == [index], "the watcher has it")
    await watcher.commit(index)

    await peer.connect(url)

    await wait_until(lambda: index in peer.held, "the worker has it too")
    await peer.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")
