"""What each script of the store does, without HTTP: a first look at a change of one.

`make quick` runs these tests on fakeredis, `make test` on a real server.
"""

from queue_service.store.dead_letters import Choice
from queue_service.store.entry import Filter, NewEntry, Subscription
from queue_service.store.rules import Limits
from queue_service.store.ticket import Canceled, State
from tests.fair.shop import LEASE_MS, SERVICE, Shop
from tests.waiting import wait_until


async def _length(shop: Shop) -> int:
    return await shop.store.count(Filter(), lane=None)


async def test_a_completed_entry_leaves_its_result(shop: Shop) -> None:
    (index,) = await shop.put("")
    await shop.join("w")
    (delivery,) = await shop.take("w")
    assert (delivery.entry.index, delivery.attempt, delivery.entry.data) == (index, 1, b"x")
    await shop.finish("w")
    assert await _length(shop) == 0
    assert await shop.sink.count(Filter(), lane=None) == 1


async def test_the_second_put_with_an_idempotency_key_stores_nothing(shop: Shop) -> None:
    put = shop.store.put
    first = await put(NewEntry("first", b"x", idempotency_key="key"))
    assert await put(NewEntry("second", b"y", idempotency_key="key")) == first
    assert await _length(shop) == 1


async def test_a_full_queue_takes_no_more(shop: Shop) -> None:
    shop.change(limits=Limits(2, 1_000_000))
    await shop.put("", 2)
    await shop.store.put(NewEntry("third", b"x"))
    assert await _length(shop) == 2


async def test_a_window_bounds_what_a_subscriber_holds(shop: Shop) -> None:
    await shop.put("", 5)
    await shop.join("w", 3)
    assert len(await shop.take("w")) == 3
    assert not await shop.take("w")


async def test_a_commit_removes_the_entry_and_writes_no_result(shop: Shop) -> None:
    (index,) = await shop.put("")
    await shop.join("w")
    await shop.take("w")
    committed = await shop.store.commit((SERVICE, "w", index))
    assert await _length(shop) == await shop.sink.count(Filter(), lane=None) == 0
    assert await shop.store.commit((SERVICE, "w", index)) != committed


async def test_a_rejected_entry_is_delivered_again(shop: Shop) -> None:
    (index,) = await shop.put("")
    await shop.join("w")
    await shop.take("w")
    assert await shop.reject("w", index)
    (again,) = await shop.take("w")
    assert (again.entry.index, again.attempt) == (index, 2)
    await shop.finish("w")


async def test_what_a_subscriber_held_goes_to_another_one(shop: Shop) -> None:
    (index,) = await shop.put("")
    await shop.join("first")
    await shop.take("first")
    await shop.leave("first")
    await shop.join("second")
    (again,) = await shop.take("second")
    assert (again.entry.index, again.attempt) == (index, 2)
    await shop.finish("second")


async def test_a_canceled_request_is_not_delivered(shop: Shop) -> None:
    request_id = await shop.submit("")
    assert await shop.cancel(request_id) is Canceled.CANCELED
    await shop.join("w")
    assert not await shop.take("w")
    assert (await shop.tickets.look(request_id)).state is State.CANCELED


async def test_a_running_request_is_to_be_stopped_when_it_is_canceled(shop: Shop) -> None:
    request_id = await shop.submit("")
    await shop.join("w")
    # Only a worker can stop what it runs.
    worker = Subscription(SERVICE, "w", "s", 1, LEASE_MS, about={"kind": "worker"}, resident=True)
    await shop.store.subscribe(worker)
    (delivery,) = await shop.take("w")
    assert await shop.cancel(request_id) is Canceled.STOPPING
    stops = await shop.tickets.stops()
    assert [(stop.uid, stop.index) for stop in stops] == [("w", delivery.entry.index)]
    await shop.finish("w")


async def test_a_delayed_request_is_delivered_when_it_is_due(shop: Shop) -> None:
    now_ms = (await shop.tickets.look("unknown")).now_ms
    await shop.submit("", begin_ms=now_ms + 1000)
    await shop.join("w")
    # Only the script `due` puts it into the queue, however late it is.
    assert not await shop.take("w")

    async def is_due() -> bool:
        return (await shop.tickets.due()).done == 1

    await wait_until(is_due, "it is put in line")
    assert len(await shop.take("w")) == 1
    await shop.finish("w")


async def test_a_dead_letter_is_replayed_under_a_new_index(shop: Shop) -> None:
    shop.change(max_delivery=1, dead_message_policy="Park")
    (index,) = await shop.put("")
    await shop.join("w")
    await shop.take("w")
    await shop.leave("w")
    letters, _ = await shop.store.dead_letters.list_dead(Choice(), after="", most=10)
    assert [letter.index for letter in letters] == [index]
    replayed = await shop.store.dead_letters.replay(Choice(), most=10)
    ((old, new, _),) = replayed.replayed
    await shop.join("v")
    (delivery,) = await shop.take("v")
    assert (old, delivery.entry.index, delivery.attempt) == (index, new, 1)
    await shop.finish("v")
