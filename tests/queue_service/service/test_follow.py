"""Following a request: one look for each ring, until it ends or the follower gives up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from aiohttp import web

from queue_service.app import build_app
from queue_service.delivery.doorbell import Doorbell
from queue_service.delivery.ring_listener import OPEN
from queue_service.service.follow import MOST_LOOKS_PER_S, POSITION_PAUSE_S, Crowd, Follow
from queue_service.service.service import Service
from queue_service.settings.process import Settings
from queue_service.settings.service import ServiceSettings
from queue_service.store.entry import Ask, Completed, Filter, Read, Subscription
from queue_service.store.ticket import Noted, Seen, State, Submission
from queue_service.store.tickets import SMALL_BYTES
from queue_service.web.keys import SERVICES
from tests.waiting import wait_until


@pytest.fixture
async def service(redis_url: str, key_prefix: str) -> AsyncIterator[Service]:
    """A service without a worker, whose bells ring at no tick: every look has another cause."""
    settings = Settings(
        redis_url=redis_url,
        key_prefix=key_prefix,
        services=(ServiceSettings.model_validate({"name": "svc"}),),
    )
    app = build_app(settings.model_copy(update={"tick_ms": 3_600_000}))
    runner = web.AppRunner(app)
    await runner.setup()
    served = app[SERVICES].find("svc")
    await wait_until(lambda: served.input.bell.rings, "it listens to rings")
    yield served
    await runner.cleanup()


async def submit(service: Service, request_id: str) -> str:
    submission = Submission(request_id, b"x", digest=request_id, keep_ms=1000, told_ms=1000)
    return (await service.tickets.submit(submission)).name


async def all_rings(service: Service) -> None:
    """Wait until every ring so far is here: they arrive in the order in which they were sent."""
    bell = service.ticket_bells.of("last")
    name = await submit(service, "last")
    await service.tickets.cancel(name)
    await wait_until(lambda: bell.rings, "the last ring")
    await service.tickets.purge(name)


class Follower:
    """Collects what a follow gives."""

    def __init__(self, follow: Follow) -> None:
        self.looks: list[Seen] = []
        self.task = asyncio.create_task(self._collect(follow))

    async def _collect(self, follow: Follow) -> None:
        async for seen in follow:
            self.looks.append(seen)

    async def has_looked(self, count: int) -> None:
        await wait_until(lambda: len(self.looks) >= count, f"{count} looks")

    @property
    def states(self) -> list[State]:
        return [seen.state for seen in self.looks]


async def test_a_follower_looks_at_once_and_at_each_ring_until_the_request_has_ended(
    service: Service,
) -> None:
    name = await submit(service, "one")
    await all_rings(service)
    follower = Follower(service.tickets.follow(name))
    await follower.has_looked(1)
    # Neither the ring of another request, nor one of the queue, is a reason to look.
    other = await submit(service, "other")
    await service.tickets.cancel(other)
    service.input.bell.ring()
    await service.tickets.cancel(name)
    await asyncio.wait_for(follower.task, 30)
    assert follower.states == [State.QUEUED, State.CANCELED]
    for ended in (name, other):
        await service.tickets.purge(ended)


async def test_followers_of_one_request_share_its_bell_and_leave_nothing(
    service: Service,
) -> None:
    name = await submit(service, "shared")
    await all_rings(service)
    followers = [Follower(service.tickets.follow(name)) for _ in range(3)]
    for follower in followers:
        await follower.has_looked(1)
    assert len(service.ticket_bells) == 1
    await service.tickets.cancel(name)
    await asyncio.gather(*(follower.task for follower in followers))
    assert [len(follower.looks) for follower in followers] == [2, 2, 2]
    del followers, follower
    await wait_until(lambda: not len(service.ticket_bells), "nothing is followed any more")
    await service.tickets.purge(name)


async def test_a_follower_that_gives_up_does_not_look_again(service: Service) -> None:
    name = await submit(service, "given-up")
    await all_rings(service)
    leaving, has_left = Doorbell(), False
    follower = Follower(service.tickets.follow(name, also=(leaving,), given_up=lambda: has_left))
    await follower.has_looked(1)
    leaving.ring()
    await follower.has_looked(2)
    has_left = True
    leaving.ring()
    await asyncio.wait_for(follower.task, 30)
    assert len(follower.looks) == 2
    await service.tickets.discard(name)


async def test_a_request_that_is_not_known_is_looked_at_once(service: Service) -> None:
    follower = Follower(service.tickets.follow("nothing"))
    await asyncio.wait_for(follower.task, 30)
    assert [seen.known for seen in follower.looks] == [False]


async def test_who_watches_the_position_gets_its_changes(service: Service) -> None:
    first, second = await submit(service, "first"), await submit(service, "second")
    follow = service.tickets.follow(second)
    # From the first look on, though it began without: no ring in between is missed.
    seen = await anext(follow)
    assert seen.ahead == 1
    follow.watches_position = True
    await service.tickets.cancel(first)
    service.input.bell.ring()
    follower = Follower(follow)
    await wait_until(lambda: follower.looks and follower.looks[-1].ahead == 0, "it is the next")
    await service.tickets.cancel(second)
    await asyncio.wait_for(follower.task, 30)
    for name in (first, second):
        await service.tickets.purge(name)


async def test_who_waits_for_the_end_alone_sleeps_until_it_may_have_come(service: Service) -> None:
    name = await submit(service, "end")
    await all_rings(service)
    waiting = service.tickets.follow(name, ends_only=True)
    # It was looked at after that, so the wait needs no look to begin with.
    waiting.begin_with(await service.tickets.look(name))
    follower, every = Follower(waiting), Follower(service.tickets.follow(name))
    await every.has_looked(1)
    worker = Subscription("svc", "w", "s", 1, 60_000, resident=True)
    store = service.input.store
    await store.subscribe(worker)
    (delivery,) = (await store.deliver("svc", [Ask("w", "s", 1)])).deliveries["w"]
    await every.has_looked(2)
    noted = Noted("svc", "w", delivery.entry.index, 1, name, 1, "delta", b"piece", 1)
    await service.tickets.note([noted])
    await every.has_looked(3)
    assert not follower.looks
    await store.complete(Completed("svc", "w", delivery.entry.index, 1, b"done"))
    await asyncio.wait_for(follower.task, 30)
    (seen,) = follower.looks
    assert seen.state is State.SUCCEEDED
    assert seen.result is not None
    assert (seen.result.data, seen.result.index) == (b"done", seen.result_index)
    await store.release("svc", "w", session="s", grace_ms=0)
    await service.tickets.purge(name)


async def test_a_ring_before_a_wait_that_begins_with_a_look_is_not_missed(
    service: Service,
) -> None:
    name = await submit(service, "ended")
    waiting = service.tickets.follow(name, ends_only=True)
    seen = await service.tickets.look(name)
    await service.tickets.cancel(name)
    await all_rings(service)
    waiting.begin_with(seen)
    assert (await anext(waiting)).state is State.CANCELED
    await service.tickets.purge(name)


async def test_an_id_that_reads_like_a_word_of_a_ring_hides_no_end(service: Service) -> None:
    names = [await submit(service, f"{OPEN}{number or ''}") for number in range(2)]
    names.append(await submit(service, "other"))
    followers = [Follower(service.tickets.follow(name, ends_only=True)) for name in names[1:]]
    for follower in followers:
        await follower.has_looked(1)
    await asyncio.gather(*map(service.tickets.cancel, names))
    for follower in followers:
        await asyncio.wait_for(follower.task, 30)
        assert follower.states[-1] is State.CANCELED
    for name in names:
        await service.tickets.purge(name)


@pytest.mark.parametrize("put_so", ["put", "known"])
async def test_a_submission_says_where_the_request_is_then(service: Service, put_so: str) -> None:
    first = await submit(service, "first")
    submission = Submission("second", b"x", "digest", 1000, 1000, looks=True)
    submitted = await service.tickets.submit(submission)
    if put_so == "known":
        submitted = await service.tickets.submit(submission)
    assert submitted.is_new is (put_so == "put")
    looked = await service.tickets.look(submitted.name)
    assert submitted.seen is not None
    assert replace(submitted.seen, now_ms=looked.now_ms) == looked
    assert looked.ahead == 1
    for name in (first, submitted.name):
        await service.tickets.discard(name)


async def test_nothing_is_kept_of_a_discarded_request_that_its_worker_completes(
    service: Service,
) -> None:
    about = {"kind": "worker"}
    worker = Subscription("svc", "w", "s", 1, 60_000, about=about, resident=True)
    await service.input.store.subscribe(worker)
    submission = Submission("left", b"x", "digest", keep_ms=3_600_000, told_ms=3_600_000)
    name = (await service.tickets.submit(submission)).name
    handout = await service.input.store.deliver("svc", [Ask("w", "s", 1)])
    (delivery,) = handout.deliveries["w"]
    await service.tickets.discard(name)
    assert (await service.tickets.look(name)).state is State.RUNNING
    # The stop is on its way, and the worker is just ready.
    done = Completed("svc", "w", delivery.entry.index, 1, b"result")
    assert await service.input.store.complete(done)

    async def is_gone() -> bool:
        service.ticket_bells.due.ring()
        return not (await service.tickets.look(name)).known

    await wait_until(is_gone, "nothing of the request is kept")
    read = Read(Filter(request_id="left"), 1, take=False)
    assert list((await service.sink.store.get(read))[0]) == []


async def test_a_large_or_taken_result_is_no_part_of_a_look(service: Service) -> None:
    worker = Subscription("svc", "w", "s", 2, 60_000, resident=True)
    await service.input.store.subscribe(worker)
    names = [await submit(service, "large"), await submit(service, "taken")]
    handout = await service.input.store.deliver("svc", [Ask("w", "s", 2)])
    for delivery, data in zip(
        handout.deliveries["w"], (b"x" * (SMALL_BYTES + 1), b"x"), strict=True
    ):
        done = Completed("svc", "w", delivery.entry.index, 1, data)
        await service.input.store.complete(done)
    ((entry,), _) = await service.sink.store.get(Read(Filter(request_id="taken"), 1, take=True))
    looks = [await service.tickets.look_for_result(name) for name in names]
    assert [(seen.state, seen.result) for seen in looks] == [(State.SUCCEEDED, None)] * 2
    await service.sink.store.restore([entry.index])
    assert (await service.tickets.look_for_result("taken")).result == entry
    await service.input.store.release("svc", "w", session="s", grace_ms=0)
    for name in names:
        await service.tickets.purge(name)


async def test_a_silent_follower_that_need_not_look_costs_no_look(service: Service) -> None:
    name = await submit(service, "idle")
    await all_rings(service)
    looks: list[str] = []

    def look(request_id: str) -> "asyncio.Future[Seen]":
        looks.append(request_id)
        return service.tickets.look(request_id)

    follow = Follow(
        name,
        look,
        bell=service.ticket_bells.of(name),
        input_bell=service.input.bell,
        sink_bell=service.sink.bell,
        crowd=Crowd(),
        longest_wait_s=lambda: 0.01,
        looks_in_silence=False,
    )
    seen = await anext(follow)
    assert [await anext(follow) for _ in range(3)] == [seen] * 3
    assert len(looks) == 1
    await service.tickets.cancel(name)
    follower = Follower(follow)
    await asyncio.wait_for(follower.task, 30)
    assert follower.states[-1] is State.CANCELED
    assert len(looks) == 2
    await service.tickets.purge(name)


def test_the_more_watch_a_position_the_longer_each_pauses() -> None:
    crowd = Crowd()
    with ExitStack() as stack:
        pauses_s = [stack.enter_context(crowd.joined()) for _ in range(1000)]
    assert pauses_s[0] == POSITION_PAUSE_S
    assert pauses_s[-1] == 1000 / MOST_LOOKS_PER_S
    with crowd.joined() as pause_s:
        assert pause_s == POSITION_PAUSE_S


async def test_a_follower_without_a_ring_looks_again_after_the_longest_wait(
    service: Service,
) -> None:
    name = await submit(service, "quiet")
    follower = Follower(service.tickets.follow(name, longest_wait_s=lambda: 0.01))
    await follower.has_looked(3)
    await service.tickets.cancel(name)
    await asyncio.wait_for(follower.task, 30)
    assert follower.states[-1] is State.CANCELED
    await service.tickets.purge(name)
