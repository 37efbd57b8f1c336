"""The arrows of docs/entry-states.md that no other test follows; crashes are real ones."""

import asyncio

from client_sdk import AsyncQueueClient, error_of
from client_sdk.wire import names
from tests.conftest import Serve, StartService, StartWorker
from tests.inference_worker.test_with_the_queue_service import collect, held
from tests.promises.conftest import Client, Peers, Watchers
from tests.promises.operators import Operator
from tests.running import TOKEN
from tests.waiting import wait_until

PARK: dict[str, object] = {"name": "svc", "max_delivery": 1, "dead_message_policy": "Park"}
HANDLERS = "handler:tests.inference_worker.handlers"


async def test_the_last_worker_is_killed_and_the_entry_is_answered_and_parked(
    start_service: StartService, start_worker: StartWorker, client: Client
) -> None:
    service = await start_service(PARK)
    operator = Operator(client.session, service.url)
    worker = await start_worker(service.url, engine=f"{HANDLERS}:misbehave")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as queue:
        await queue.put(b"sleep 600")
        await wait_until(lambda: held(worker) == 1, "it runs")
        worker.kill_all()
        (frame,) = await collect(queue, 1)
    error = error_of(frame)
    assert error is not None
    assert (error.code, error.status) == ("WorkerLost", "500")
    (letter,) = await operator.letters()
    assert (letter["reason"], letter["code"], letter["attempts"]) == (
        "MaxDelivery",
        "WorkerLost",
        1,
    )
    assert await operator.purge_all() == 1


async def test_a_frozen_workers_late_result_is_refused_after_the_entry_was_parked(
    start_service: StartService, start_worker: StartWorker, client: Client
) -> None:
    service = await start_service(PARK, lease_ms=1000)
    operator = Operator(client.session, service.url)
    worker = await start_worker(service.url, engine=f"{HANDLERS}:misbehave")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as queue:
        await queue.put(b"sleep 1")
        await wait_until(lambda: held(worker) == 1, "it runs")
        worker.freeze()
        await wait_until(lambda: operator.has_letters(1), "its lease has ended")
        worker.thaw()
        await wait_until(lambda: "was lost" in worker.log or "was refused" in worker.log, "told")
        (frame,) = await collect(queue, 1)
    error = error_of(frame)
    assert error is not None
    assert error.code == "WorkerLost"
    assert await operator.purge_all() == 1


async def test_a_limit_that_was_lowered_ends_what_is_above_it_at_its_next_turn(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve({**PARK, "max_delivery": 5})
    operator = Operator(client.session, url)
    peer = peers.make(1)
    await peer.connect(url)
    index, _ = await client.put(b"x")
    for attempt in (1, 2):
        await wait_until(lambda: index in peer.held, "it comes")
        assert peer.held[index].attempt == attempt
        await peer.reject(index, "Odd")
    await wait_until(lambda: index in peer.held, "it comes again")
    await peer.cut()
    peer.held.clear()
    await wait_until(lambda: _is_waiting(client, index), "it is released")
    other = await serve({**PARK, "max_delivery": 2})
    await peer.connect(other)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    (letter,) = await operator.letters()
    assert (letter["code"], letter["attempts"]) == ("Odd", 3)
    await client.truncate("/sink")
    await operator.purge_all()


async def _is_waiting(client: Client, index: int) -> bool:
    return not await client.search_is_pending(index, gid="svc")


async def test_two_replicas_that_replay_everything_at_once_replay_each_once(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve(PARK)
    elsewhere = await serve(PARK)
    here, there = Operator(client.session, url), Operator(client.session, elsewhere)
    peer = peers.make(60, on_delivery=lambda peer, delivery: None)
    await peer.connect(url)
    indexes = {(await client.put(b"x"))[0] for _ in range(60)}
    await wait_until(lambda: len(peer.held) == 60, "all are held")
    await peer.vanish()
    await wait_until(lambda: here.has_letters(60), "all are parked")
    assert await client.length("/sink") == 60
    told = await asyncio.gather(
        *(operator.ask("POST", "/replay", all="true") for operator in (here, there, here))
    )
    replayed = [one["id"] for answer in told for one in answer["replayed"]]
    assert sorted(replayed) == sorted(indexes)
    assert (await client.length(), await client.length("/sink")) == (60, 0)
    assert await here.letters() == []
    await client.truncate()


async def test_truncate_and_delete_take_no_dead_letters(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve(PARK)
    operator = Operator(client.session, url)
    peer = peers.make(1)
    await peer.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in peer.held, "it comes")
    await peer.reject(index)
    await wait_until(lambda: operator.has_letters(1), "it is parked")
    await client.truncate()
    await client.truncate("/sink")
    assert await operator.has_letters(1)
    assert await operator.purge_all() == 1


async def test_a_full_sink_has_a_place_for_the_error_of_everything_that_is_held(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve({**PARK, "sink": {"max_length": 2}})
    operator = Operator(client.session, url)
    peer = peers.make(5)
    await peer.connect(url)
    for _ in range(3):
        await client.put(b"x")
    await wait_until(lambda: len(peer.held) == 2, "as many as the sink has room for")
    await peer.vanish()
    await wait_until(lambda: client.has_length(2, "/sink"), "both are answered")
    await peer.connect(url)
    assert await client.length() == 1
    assert len(await client.read(9)) == 2
    await wait_until(lambda: peer.held, "there is room again")
    await peer.complete(*peer.held)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")
    assert await operator.purge_all() == 2


async def test_a_rejected_result_goes_round_in_the_sink_and_is_reared_at_the_limit(
    serve: Serve, client: Client, watchers: Watchers
) -> None:
    client.url = url = await serve({**PARK, "dead_message_policy": "Rear"})
    watcher = watchers.make(url, queue="/sink")
    await watcher.watch()
    index, _ = await client.put(b"x", queue="/sink", requestId="r")
    await wait_until(lambda: watcher.indexes == [index], "it comes")
    await watcher.reject(index)
    await wait_until(lambda: len(watcher.frames) == 2, "it comes from the rear")
    again = watcher.frames[1]
    assert (again.index, again.tags[names.REQUEST_ID_TAG]) == (index + 1, "r")
    await watcher.commit(again.index)
    assert await client.length("/sink") == 0
    assert (await Operator(client.session, url, "sink").sums())["reared"] == 1


async def test_an_ended_queue_takes_no_replay(serve: Serve, client: Client, peers: Peers) -> None:
    client.url = url = await serve(PARK)
    operator = Operator(client.session, url)
    peer = peers.make(1)
    await peer.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in peer.held, "it comes")
    await peer.reject(index)
    await wait_until(lambda: operator.has_letters(1), "it is parked")
    address = f"{url}{names.EAS_PREFIX}/svc"
    async with client.session.post(address, params={names.END_OF_STREAM: "true"}) as answer:
        assert answer.status == 200
    for path, query in ((f"/{index}/replay", {}), ("/replay", {"all": "true"})):
        refused = await operator.ask("POST", path, status=409, **query)
        assert refused["code"] == "QUEUE_ENDED"
    assert await operator.purge_all() == 1
    await client.truncate("/sink")
