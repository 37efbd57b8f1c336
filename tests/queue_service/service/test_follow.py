"""Following a request: one look for each ring, until it ends or the follower gives up."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from queue_service.app import build_app
from queue_service.delivery.doorbell import Doorbell
from queue_service.service.follow import Follow
from queue_service.service.service import Service
from queue_service.settings.process import Settings
from queue_service.settings.service import ServiceSettings
from queue_service.store.ticket import Seen, State, Submission
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
    await asyncio.wait_for(follower.task, 20)
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
    await asyncio.wait_for(follower.task, 20)
    assert len(follower.looks) == 2
    await service.tickets.discard(name)


async def test_a_request_that_is_not_known_is_looked_at_once(service: Service) -> None:
    follower = Follower(service.tickets.follow("nothing"))
    await asyncio.wait_for(follower.task, 20)
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
    await asyncio.wait_for(follower.task, 20)
    for name in (first, second):
        await service.tickets.purge(name)


async def test_a_follower_without_a_ring_looks_again_after_the_longest_wait(
    service: Service,
) -> None:
    name = await submit(service, "quiet")
    follower = Follower(service.tickets.follow(name, longest_wait_s=lambda: 0.01))
    await follower.has_looked(3)
    await service.tickets.cancel(name)
    await asyncio.wait_for(follower.task, 20)
    assert follower.states[-1] is State.CANCELED
    await service.tickets.purge(name)
