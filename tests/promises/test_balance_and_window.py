"""Promises 2 and 3: never more than the window, and the worker with the fewest jobs is next."""

import asyncio

import pytest

from client_sdk.wire import names
from client_sdk.wire.worker import Delivery
from tests.conftest import Serve, StartService
from tests.promises.conftest import Client, Peers, Watchers
from tests.promises.peer import Peer
from tests.waiting import hold_for, wait_until

REPLICAS = pytest.mark.parametrize("replicas", [1, 2], ids=["one process", "two processes"])


@REPLICAS
async def test_eight_idle_subscribers_and_eight_entries_get_one_each(
    start_service: StartService, client: Client, peers: Peers, replicas: int
) -> None:
    services = [await start_service() for _ in range(replicas)]
    client.url = services[0].url
    for number in range(8):
        await peers.make(4).connect(services[number % replicas].url)

    await asyncio.gather(*(client.put(b"x") for _ in range(8)))

    await wait_until(lambda: sum(len(peer.held) for peer in peers) == 8, "all eight are handed out")
    assert [len(peer.held) for peer in peers] == [1] * 8
    for peer in peers:
        await peer.complete(*peer.held)
    await wait_until(lambda: client.length("/sink"), "the results are there")
    await wait_until(lambda: all(peer.outcomes for peer in peers), "every answer is accepted")
    await client.truncate("/sink")


@REPLICAS
async def test_the_free_one_takes_the_rest_when_the_others_are_full(
    start_service: StartService, client: Client, peers: Peers, replicas: int
) -> None:
    services = [await start_service() for _ in range(replicas)]
    client.url = services[0].url
    small, large = peers.make(1), peers.make(8)
    await small.connect(services[0].url)
    await large.connect(services[-1].url)

    for _ in range(9):
        await client.put(b"x")

    await wait_until(lambda: len(small.held) + len(large.held) == 9, "all nine are handed out")
    assert (len(small.held), len(large.held)) == (1, 8)
    await client.truncate()


@REPLICAS
async def test_no_subscriber_is_handed_more_than_its_window(
    start_service: StartService, client: Client, peers: Peers, replicas: int
) -> None:
    services = [await start_service() for _ in range(replicas)]
    client.url = services[0].url
    windows = [1, 2, 3, 7]
    for number, window in enumerate(windows):
        await peers.make(window).connect(services[number % replicas].url)
    await asyncio.gather(*(client.put(b"x") for _ in range(40)))
    await wait_until(lambda: [len(peer.held) for peer in peers] == windows, "every window is full")

    # For each that is committed, exactly one more comes.
    for _ in range(3):
        for peer in peers:
            await peer.complete(next(iter(peer.held)))
        await wait_until(
            lambda: [len(peer.held) for peer in peers] == windows, "every window is full again"
        )
    await hold_for(
        0.3,
        lambda: [len(peer.held) for peer in peers] == windows,
        "nobody is handed more than its window",
    )
    assert [peer.most_held for peer in peers] == windows
    await client.truncate()
    await client.truncate("/sink")


async def test_a_full_sink_stops_the_workers_after_exactly_as_many_results(
    start_service: StartService, client: Client, peers: Peers
) -> None:
    service = await start_service({"name": "svc", "sink": {"max_length": 5}})
    client.url = service.url
    answering: set[asyncio.Task[None]] = set()

    def answer(peer: Peer, delivery: Delivery) -> None:
        answering.add(asyncio.create_task(peer.complete(delivery.index)))

    for _ in range(2):
        await peers.make(4, on_delivery=answer).connect(service.url)
    for _ in range(20):
        await client.put(b"x")

    async def stored() -> tuple[int, int]:
        return await client.length("/sink"), await client.length()

    async def is_stopped() -> bool:
        return await stored() == (5, 15)

    await wait_until(is_stopped, "five results are stored and fifteen entries wait")
    await hold_for(0.5, is_stopped, "nothing more is computed while nobody reads")

    assert len(await client.read(3)) == 3

    async def three_more() -> bool:
        return await stored() == (5, 12)

    await wait_until(three_more, "exactly three more have run")
    await hold_for(0.5, three_more, "and no more than three")
    # The input first: what leaves it between two looks is in the sink by the second.
    while await client.length() or await client.length("/sink"):
        await client.read(5)
    await asyncio.gather(*answering)
    assert sum(len(peer.handed) for peer in peers) == 20


async def test_a_worker_of_the_eas_api_may_store_its_results_where_their_places_are_kept(
    serve: Serve, client: Client, watchers: Watchers
) -> None:
    url = await serve({"name": "svc", "sink": {"max_length": 2}})
    client.url = url
    watcher = watchers.make(url)
    await watcher.watch(window=5)
    for _ in range(3):
        await client.put(b"x")
    await wait_until(lambda: len(watcher.frames) == 2, "as many come as the sink has room for")
    stranger = f"{url}{names.EAS_PREFIX}/svc/sink"
    async with client.session.post(stranger, data=b"x") as answer:
        assert answer.status == 429, "the places are kept for the results"

    for frame in list(watcher.frames):
        request_id = frame.tags[names.REQUEST_ID_TAG]
        await client.put(b"y", queue="/sink", requestId=request_id)
        await watcher.commit(frame.index)

    assert await client.length("/sink") == 2
    request_id = watcher.frames[0].tags[names.REQUEST_ID_TAG]
    async with client.session.post(stranger, params={"requestId": request_id}) as answer:
        assert answer.status == 429, "and nothing is stored above the capacity"
    assert len(await client.read(2)) == 2
    await wait_until(lambda: len(watcher.frames) == 3, "the last one comes")
    await watcher.commit(watcher.indexes[-1])


async def test_a_sink_that_evicts_takes_a_put_whatever_the_workers_hold(
    serve: Serve, client: Client, peers: Peers
) -> None:
    url = await serve({"name": "svc", "sink": {"max_length": 2, "auto_evict": True}})
    client.url = url
    peer = peers.make(3)
    await peer.connect(url)
    for _ in range(3):
        await client.put(b"x")
    await wait_until(lambda: len(peer.held) == 3, "the worker holds more than the sink has")

    await client.put(b"1", queue="/sink")
    await peer.complete(*peer.held)
    await wait_until(lambda: len(peer.outcomes) == 3, "all are answered")
    await client.put(b"4", queue="/sink")
    assert [frame.data for frame in await client.read(5)] == [b"x", b"4"]
