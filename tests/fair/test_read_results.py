"""Results that were read make room in the sink, the oldest first; unread ones never do."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from redis.asyncio import Redis

from queue_service.store.entry import Completed, NewEntry
from queue_service.store.outcomes import NotStored, Refusal, SinkChange, Stored
from queue_service.store.putter import Putter, QuotaReached
from queue_service.store.ticket import Seen, State, Submission
from tests.fair.shop import SERVICE, Shop

CAPACITY = 5
HOUR_MS = 3_600_000
WORKER = "worker"


@dataclass
class Kept:
    """Jobs whose results are kept for an hour after they were read."""

    shop: Shop
    names: list[str] = field(default_factory=list)

    async def submit(self, owner: str = "", *, name: str = "", **limits: Any) -> str:
        """Put a job; return its name in the store."""
        job_id = name or f"job{len(self.names)}"
        submission = Submission(job_id, b"x", "digest", HOUR_MS, HOUR_MS)
        putter = Putter(owner, owner=owner, **limits) if owner else None
        stored = await self.shop.tickets.submit(replace(submission, putter=putter))
        assert not isinstance(stored, NotStored), stored
        self.names.append(stored.name)
        return stored.name

    async def run(self, count: int = 1, owner: str = "") -> list[str]:
        """Put jobs and finish them; return their names."""
        names = [await self.submit(owner) for _ in range(count)]
        await self.work()
        for name in names:
            assert (await self.seen(name)).result_index, f"{name} has no result"
        return names

    async def work(self, data: bytes = b"done") -> int:
        """Finish all that the worker may have; return how many jobs that was."""
        done = 0
        while taken := await self.shop.take(WORKER):
            for one in taken:
                item = Completed(SERVICE, WORKER, one.entry.index, one.attempt, data)
                assert await self.shop.store.complete(item)
            done += len(taken)
        self.shop.held.clear()
        return done

    async def seen(self, name: str) -> Seen:
        return await self.shop.tickets.look(name)

    async def read(self, *names: str) -> None:
        for name in names:
            index = (await self.seen(name)).result_index
            assert index is not None
            assert await self.shop.tickets.mark_read([(name, index)]) == 1

    async def left(self) -> list[str]:
        """The names of those whose results are still there."""
        return [name for name in self.names if (await self.seen(name)).result_index]


@pytest.fixture
async def kept(shop: Shop) -> Kept:
    shop.change(sink_capacity=CAPACITY)
    shop.sink.change(replace(shop.sink.rules, limits=replace(shop.sink.rules.limits, capacity=5)))
    await shop.join(WORKER, 3)
    return Kept(shop)


async def test_a_sink_with_room_drops_nothing(kept: Kept) -> None:
    names = await kept.run(CAPACITY - 1)
    await kept.read(*names)
    await kept.run()
    assert len(await kept.left()) == CAPACITY


async def test_what_was_read_first_makes_room_first_and_unread_results_stay(kept: Kept) -> None:
    first, second, third, fourth, fifth = await kept.run(CAPACITY)
    await kept.read(fourth, first, third)
    await kept.run()
    assert fourth not in await kept.left()
    await kept.run(2)
    assert set(await kept.left()) >= {second, fifth}
    assert not {first, third, fourth} & set(await kept.left())
    # Only unread ones are left: nothing more is delivered.
    await kept.submit()
    assert await kept.work() == 0
    gone = await kept.seen(first)
    assert (gone.state, gone.ticket["room"], gone.ticket["gone_at"] > 0) == (
        State.SUCCEEDED,
        True,
        True,
    )
    assert (await kept.shop.sink.attributes()).read_dropped == 3


async def test_a_read_wakes_the_jobs_that_wait_for_room(kept: Kept, redis: "Redis") -> None:
    names = await kept.run(CAPACITY)
    waiting = await kept.submit()
    assert await kept.work() == 0
    assert (await kept.seen(waiting)).crew.blocked
    async with redis.pubsub() as listening:
        await listening.subscribe(kept.shop.keys.channel)
        await listening.get_message(timeout=30)
        await kept.read(names[0])
        rung = await listening.get_message(timeout=30)
        assert rung is not None
        assert rung["data"] == "input"
    assert not (await kept.seen(waiting)).crew.blocked
    assert await kept.work() == 1
    assert names[0] not in await kept.left()


async def test_a_put_into_the_sink_drops_what_was_read(kept: Kept) -> None:
    names = await kept.run(CAPACITY)
    full = await kept.shop.sink.put(NewEntry("from outside", b"x"))
    assert full == NotStored(Refusal.FULL)
    await kept.read(names[2])
    assert isinstance(await kept.shop.sink.put(NewEntry("from outside", b"x")), Stored)
    assert await kept.left() == [*names[:2], *names[3:]]


async def test_an_evicting_sink_drops_what_was_read_before_anything_else(kept: Kept) -> None:
    kept.shop.change(sink_evicts=True)
    kept.shop.sink.change(replace(kept.shop.sink.rules, evicts=True))
    names = await kept.run(CAPACITY)
    await kept.read(names[3], names[4])
    await kept.run(2)
    assert (await kept.left())[:3] == names[:3]
    await kept.run()
    assert (await kept.left())[:2] == names[1:3]


async def test_an_expired_request_finds_room_for_its_result(kept: Kept, redis: "Redis") -> None:
    names = await kept.run(CAPACITY)
    late = await kept.submit()
    await redis.zadd(kept.shop.keys.shared()[1], {f"finish\x1f{late}": 1})
    await kept.read(names[0])
    await kept.shop.tickets.due()
    assert (await kept.seen(late)).result_tags["errorCode"] == "Expired"
    assert await kept.left() == [*names[1:], late]


async def test_an_owner_with_its_share_loses_its_own_results(kept: Kept) -> None:
    kept.shop.change(sink_capacity=10)
    others = await kept.run(2, owner="other")
    await kept.read(*others)
    mine = await kept.run(6, owner="me")
    # Two places are free, less than a fifth of what this owner has and would get.
    for _ in range(2):
        await kept.submit("me")
    assert await kept.work() == 1
    state = await kept.shop.tickets.sink_state("me")
    assert (state.full, state.share_used, state.unread) == (False, True, 7)
    assert not (await kept.shop.tickets.sink_state("other")).stops
    await kept.read(mine[1])
    assert await kept.work() == 1
    # Not what others have read earlier.
    assert set(others) < set(await kept.left())
    assert mine[1] not in await kept.left()


async def test_read_results_do_not_count_for_the_limit_of_unread_ones(kept: Kept) -> None:
    for _ in range(2):
        await kept.submit("me", unread=2)
    await kept.work()
    refused = await kept.shop.tickets.submit(
        Submission("no", b"", "", HOUR_MS, 0, putter=Putter("me", owner="me", unread=2))
    )
    assert refused == NotStored(QuotaReached("unread", 2, None))
    first, second = kept.names
    await kept.read(second)
    await kept.submit("me", unread=2)
    assert await kept.left() == [first]


async def test_only_the_result_that_was_read_is_marked(kept: Kept) -> None:
    (name,) = await kept.run()
    index = (await kept.seen(name)).result_index
    assert index is not None
    tickets = kept.shop.tickets
    assert await tickets.mark_read([(name, index + 1), ("nobody's", 1)]) == 0
    assert await tickets.mark_read([(name, index)]) == 1
    assert await tickets.mark_read([(name, index), (name, index)]) == 0
    # Without a time for which it is kept, it goes when it is read from the sink.
    await kept.shop.tickets.submit(Submission("eas", b"", "", 0, HOUR_MS))
    await kept.work()
    seen = await kept.seen("eas")
    assert seen.result_index is not None
    assert await tickets.mark_read([("eas", seen.result_index)]) == 0


async def test_a_second_result_of_a_request_is_not_dropped_with_the_read_one(kept: Kept) -> None:
    names = await kept.run(CAPACITY - 1)
    stored = await kept.shop.sink.put(NewEntry(names[0], b"another one"))
    assert isinstance(stored, Stored)
    await kept.read(names[0])
    await kept.run()
    seen = await kept.seen(names[0])
    assert seen.result_index == stored.index
    assert "read_at" not in seen.ticket


@pytest.mark.parametrize("owner", ["", "me"])
async def test_a_member_that_an_older_version_left_is_passed_over(
    kept: Kept, redis: "Redis", owner: str
) -> None:
    # An owner may have four fifths of the sink.
    names = await kept.run(CAPACITY - 1 if owner else CAPACITY, owner)
    await kept.read(names[0])
    (key,) = (one for one in kept.shop.keys.shared() if one.endswith(":read_results"))
    members = [str(one) for one in await redis.zrange(key, 0, -1)]
    # It removes the result, and leaves the member and what the ticket says.
    await kept.shop.sink.truncate(2)
    await redis.zadd(key, dict.fromkeys(members, 0))
    await kept.read(names[2])
    fresh = await kept.run(2, owner)
    assert await kept.left() == [names[1], *names[3:], *fresh]
    assert await redis.exists(key) == 0


async def test_a_call_drops_a_bounded_number_and_the_next_one_goes_on(kept: Kept) -> None:
    many = 130
    kept.shop.change(sink_capacity=many)
    names = await kept.run(many)
    await kept.read(*names)
    await kept.shop.join("eager", 2 * many)
    for _ in range(many):
        await kept.submit()
    assert await kept.shop.take("eager")
    assert (await kept.shop.sink.attributes()).read_dropped == 100
    while await kept.shop.take("eager"):
        pass
    assert (await kept.shop.sink.attributes()).read_dropped == many
    assert not await kept.left()


async def test_the_state_says_when_the_next_result_expires(kept: Kept) -> None:
    tickets = kept.shop.tickets
    assert not (await tickets.sink_state("")).full
    await kept.run(CAPACITY - 1)
    assert not (await tickets.sink_state("")).full
    (name,) = await kept.run()
    state = await tickets.sink_state("")
    assert (state.full, state.unread, state.since_ms) == (True, CAPACITY, 0)
    assert state.next_ms is not None
    assert HOUR_MS - 60_000 < state.next_ms <= HOUR_MS
    await kept.read(name)
    state = await tickets.sink_state("")
    assert (state.full, state.unread) == (False, CAPACITY - 1)


async def test_the_change_is_reported_once(kept: Kept, redis: "Redis") -> None:
    names = await kept.run(CAPACITY)

    async def change() -> SinkChange | None:
        found = await kept.shop.store.deliver(SERVICE, [_ask()])
        assert not found.deliveries[WORKER]
        return found.sink_change

    assert await change() is None
    await kept.submit()
    assert [await change() for _ in range(3)] == [SinkChange.FULL, None, None]
    assert (await kept.shop.tickets.sink_state("")).since_ms > 0
    # A reader and a worker may take turns at the last place: that is no change.
    await kept.read(names[0])
    await kept.work()
    await kept.submit()
    assert await change() is None
    # It has had room for a while.
    await kept.read(*names[1:3])
    meta = f"{kept.shop.keys.queue('input')[2]}"
    since, _ = str(await redis.hget(meta, "full")).split()
    await redis.hset(meta, "full", f"{since} 1")
    found = await kept.shop.store.deliver(SERVICE, [_ask()])
    assert found.sink_change is SinkChange.ROOM
    for one in found.deliveries[WORKER]:
        await kept.shop.store.complete(
            Completed(SERVICE, WORKER, one.entry.index, one.attempt, b"done")
        )


def _ask() -> Any:
    from queue_service.store.entry import Ask  # noqa: PLC0415

    return Ask(WORKER, "s", 3)


async def test_a_put_that_is_refused_after_all_drops_nothing(kept: Kept) -> None:
    async def refused(**limits: Any) -> str:
        submission = Submission("no", b"x", "", HOUR_MS, 0)
        putter = Putter("me", owner="me", **limits)
        stored = await kept.shop.tickets.submit(replace(submission, putter=putter))
        assert isinstance(stored, NotStored), stored
        assert isinstance(stored.reason, QuotaReached)
        return stored.reason.quota

    kept.shop.change(sink_capacity=10)
    names = await kept.run(4, owner="me")
    await kept.read(names[0])
    # One that was read goes, and three are still too many.
    assert await refused(unread=3) == "unread"
    assert await kept.left() == names
    # It would make room for this one, which comes too soon after the one before.
    await kept.submit("me", name="quick", rate_per_s=0.001, burst=1)
    assert await refused(unread=4, rate_per_s=0.001, burst=1) == "rate"
    assert await kept.left() == names


async def test_a_large_result_that_has_no_room_drops_nothing(kept: Kept) -> None:
    kept.shop.sink.change(replace(kept.shop.sink.rules, sink_place_bytes=10))
    names = await kept.run(CAPACITY)
    await kept.read(names[0])
    large = NewEntry("from outside", b"x" * 20)
    assert await kept.shop.sink.put(large) == NotStored(Refusal.FULL)
    assert await kept.left() == names
    await kept.read(names[3])
    assert isinstance(await kept.shop.sink.put(large), Stored)
    assert await kept.left() == [names[1], names[2], names[4]]


async def test_a_share_that_stays_used_up_drops_nothing(kept: Kept) -> None:
    kept.shop.change(sink_capacity=10)
    mine = await kept.run(7, owner="me")
    kept.shop.change(sink_capacity=7)
    await kept.read(mine[2])
    # Two of its results would have to go until it may have another one.
    submission = Submission("no", b"x", "", HOUR_MS, 0, putter=Putter("me", owner="me"))
    refused = await kept.shop.tickets.submit(submission)
    assert refused == NotStored(QuotaReached("sink_share", 7, None))
    assert await kept.left() == mine
    await kept.read(mine[0])
    await kept.submit("me")
    assert await kept.left() == [mine[1], *mine[3:]]
