"""A delivery that is held for too long goes to another subscriber, and its holder is notified."""

import asyncio

from client_sdk import AsyncQueueClient
from client_sdk.wire import worker as wire
from tests.conftest import Serve, StartService, StartWorker
from tests.promises.conftest import Client, Peers, Watchers
from tests.promises.operators import Operator
from tests.running import TOKEN
from tests.waiting import hold_for, wait_until

HANDLERS = "handler:tests.inference_worker.handlers"


async def test_it_goes_to_another_worker_as_one_more_delivery_and_the_late_answer_is_refused(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve({"name": "svc", "max_idle": "300ms", "max_delivery": 2})
    slow, other = peers.make(1), peers.make(1)
    await slow.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in slow.held, "the first has it")
    await other.connect(url)
    await wait_until(lambda: index in other.held, "the other has it")
    assert other.held[index].attempt == 2
    await wait_until(lambda: slow.taken == [wire.Held(index, 1)], "the first is told")

    late = wire.Completion(index, 1, wire.Result(b"late"))
    await slow.send(wire.Completions((late,)))
    await wait_until(lambda: slow.outcomes, "the late answer is judged")
    assert slow.outcomes == [wire.Outcome(index, 1, False, "LEASE_LOST")]
    await other.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    assert [frame.data for frame in await client.read(9)] == [b"x"]

    # The window of the first is open again, and as wide as it was.
    numbers = [(await client.put(b"y"))[0] for _ in range(3)]
    await wait_until(lambda: len(slow.held) + len(other.held) == 2, "both have one")
    await hold_for(0.1, lambda: len(slow.handed) == 2, "and no more than one")
    await other.cut()
    await client.truncate()
    assert len(numbers) == 3


async def test_at_max_delivery_the_policy_ends_it(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve(
        {"name": "svc", "max_idle": "0.2s", "max_delivery": 2, "dead_message_policy": "Park"}
    )
    operator = Operator(client.session, url)
    peer = peers.make(1)
    await peer.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    (answer,) = await client.read()
    assert (answer.tags["errorCode"], answer.tags["lastCode"]) == ("MaxIdle", "504")
    assert answer.data == b"it was held for longer than max_idle, 0.2 s"
    assert peer.taken == [wire.Held(index, 1), wire.Held(index, 2)]
    (letter,) = await operator.letters()
    assert (letter["reason"], letter["code"], letter["attempts"]) == ("MaxDelivery", "MaxIdle", 2)
    assert await operator.purge_all() == 1


async def test_what_a_watcher_holds_for_too_long_goes_to_another_watcher(
    serve: Serve, client: Client, watchers: Watchers
) -> None:
    client.url = url = await serve({"name": "svc", "max_idle": "300ms"})
    slow, other = watchers.make(url), watchers.make(url)
    await slow.watch(window=1)
    index, _ = await client.put(b"x")
    await wait_until(lambda: slow.indexes == [index], "the first has it")
    await other.watch(window=1)
    await wait_until(lambda: other.indexes == [index], "the other has it")
    await slow.commit(index)
    assert await client.length() == 1
    await other.commit(index)
    assert await client.length() == 0


async def test_a_worker_is_notified_by_the_replica_that_it_is_connected_to(
    serve: Serve, client: Client, peers: Peers
) -> None:
    fields: dict[str, object] = {"name": "svc", "max_idle": "300ms"}
    client.url = url = await serve(fields)
    elsewhere = await serve(fields)
    slow, other = peers.make(1), peers.make(1)
    await slow.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in slow.held, "the first has it")
    await other.connect(elsewhere)
    await wait_until(lambda: index in other.held, "the other has it")
    await wait_until(lambda: slow.taken, "the first is told")
    await other.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")


async def test_who_answers_in_time_is_left_alone(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve({"name": "svc", "max_idle": "1h"})
    peer = peers.make(2)
    await peer.connect(url)
    first, _ = await client.put(b"x")
    await wait_until(lambda: first in peer.held, "it comes")
    await peer.reject(first)
    await wait_until(lambda: first in peer.held, "it comes again")
    await peer.complete(first)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    assert not peer.taken
    await client.truncate("/sink")


async def test_a_job_that_takes_too_long_is_cancelled_in_its_worker(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "max_idle": "1s", "max_delivery": 0})
    worker = await start_worker(service.url, engine=f"{HANDLERS}:obey", worker_threads=1)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        receipt = await client.put(b"sleep 600")
        await wait_until(lambda: "was lost; its job is cancelled" in worker.log, "it is cancelled")
        await client.delete([receipt.index])
        await client.put(b"x")
        (frame,) = await asyncio.wait_for(client.sink.get(timeout_s=20), 30)
    assert frame.data == b"x"
