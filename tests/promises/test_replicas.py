"""What two replicas on one Redis owe each other, and what a slow tick must not change."""

from collections.abc import Sized

from tests.conftest import StartService
from tests.promises.conftest import Client, Peers, Watchers
from tests.waiting import wait_until

#: So slow that nothing in a test is owed to it.
NO_TICK_MS = 60_000


async def _come_soon(deliveries: Sized, count: int) -> None:
    await wait_until(lambda: len(deliveries) == count, "they come")


async def test_a_commit_over_another_replica_opens_a_full_window_without_a_tick(
    start_service: StartService, client: Client, watchers: Watchers
) -> None:
    first = await start_service(tick_ms=NO_TICK_MS)
    second = await start_service(tick_ms=NO_TICK_MS)
    client.url = second.url
    watcher = watchers.make(first.url)
    await watcher.watch(window=1)
    for count in range(1, 6):
        index, _ = await client.put(b"x")
        await _come_soon(watcher.frames, count)
        await watcher.commit(index, url=second.url)
    assert await client.length() == 0


async def test_a_silent_subscriber_loses_its_lease_however_slow_the_tick_is(
    start_service: StartService, client: Client, peers: Peers
) -> None:
    dying = await start_service(tick_ms=NO_TICK_MS, lease_ms=5000)
    staying = await start_service(tick_ms=NO_TICK_MS, lease_ms=5000)
    client.url = staying.url
    lost, kept = peers.make(1), peers.make(1)
    await lost.connect(dying.url)
    await client.put(b"x")
    await wait_until(lambda: len(lost.held) == 1, "the first has it")
    await kept.connect(staying.url)

    dying.kill()

    await wait_until(lambda: len(kept.held) == 1, "the other has it")
    await kept.complete(*kept.held)
    await wait_until(lambda: kept.outcomes, "it is answered")
    await client.truncate("/sink")


async def test_a_released_entry_goes_to_a_worker_of_another_replica_without_a_tick(
    start_service: StartService, client: Client, peers: Peers
) -> None:
    first = await start_service(tick_ms=NO_TICK_MS)
    second = await start_service(tick_ms=NO_TICK_MS)
    client.url = first.url
    busy, free = peers.make(1), peers.make(1)
    await busy.connect(first.url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in busy.held, "the first has it")
    await free.connect(second.url)

    await busy.reject(index)

    await wait_until(lambda: index in free.held, "the other has it")
    await free.vanish()
    await wait_until(lambda: index in busy.held, "the first has it again")
    await busy.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")


async def test_room_in_the_sink_wakes_the_workers_of_another_replica_without_a_tick(
    start_service: StartService, client: Client, peers: Peers
) -> None:
    small: dict[str, object] = {"name": "svc", "sink": {"max_length": 1}}
    first = await start_service(small, tick_ms=NO_TICK_MS)
    second = await start_service(small, tick_ms=NO_TICK_MS)
    client.url = first.url
    peer = peers.make(4)
    await peer.connect(second.url)
    for count in range(1, 4):
        await client.put(b"x")
        await _come_soon(peer.handed, count)
        await client.put(b"y")
        await peer.complete(*peer.held)
        await wait_until(lambda: client.has_length(1, "/sink"), "the sink is full")
        assert len(await client.read(1)) == 1
        await wait_until(lambda: len(peer.held) == 1, "the next one arrives")
        await client.truncate()
        peer.held.clear()
        peer.handed[:] = peer.handed[:count]
