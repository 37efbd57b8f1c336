"""Artifacts in the store: which a job has, and when they go."""

from collections.abc import AsyncIterator, Sequence

import pytest

from queue_service.settings.process import Settings
from queue_service.store.artifacts import Artifact, ArtifactStore, write_artifacts
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.entry import Completed, Delivery, Filter, Read, Rejected
from queue_service.store.file_holders import FileHolders
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts
from queue_service.store.ticket import Noted, Submission
from tests.fair.shop import SERVICE, Shop
from tests.queue_service.store.test_file_holders import a_file
from tests.waiting import wait_until

HOUR_MS = 3_600_000


class Desk:
    """One service in a real Redis, and a worker that holds its jobs."""

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self.shop = Shop(scripts, keys)
        self.artifacts = ArtifactStore(scripts, keys)
        self.holders = FileHolders(scripts, keys)
        self.said = 0

    async def begin(self, job: str, *, keep_ms: int = HOUR_MS, events: bool = True) -> Delivery:
        wanted = Submission(job, b"x", "digest", keep_ms, 60_000, events=events)
        await self.shop.tickets.submit(wanted)
        return await self.again()

    async def again(self) -> Delivery:
        (delivery,) = await self.shop.take("worker")
        return delivery

    async def add(
        self, delivery: Delivery, *artifacts: Artifact, said: int = 0, most: int = 10**9
    ) -> bool:
        self.said += 1
        return await self.shop.tickets.note(
            Noted(
                SERVICE,
                "worker",
                delivery.entry.index,
                delivery.attempt,
                delivery.entry.request_id,
                said or self.said,
                "artifact",
                write_artifacts(artifacts),
                0,
                artifact_bytes=most,
            )
        )

    async def names(self, job: str) -> list[str] | None:
        """Return what clients see; None if the job is not known."""
        seen = await self.shop.tickets.look(job)
        if not seen.known:
            return None
        return [one.name for one in await self.artifacts.of(job)] if seen.has_artifacts else []

    async def held(self, artifacts: Sequence[Artifact]) -> list[bool]:
        return await self.holders.are_held([one.file.id for one in artifacts])

    async def complete(self, delivery: Delivery, data: bytes | None = b"done") -> None:
        index = delivery.entry.index
        self.shop.held["worker"].pop(index)
        done = Completed(SERVICE, "worker", index, delivery.attempt, data)
        assert await self.shop.store.complete(done)


@pytest.fixture
async def desk(redis_url: str, key_prefix: str) -> AsyncIterator[Desk]:
    settings = Settings(redis_url=redis_url, key_prefix=key_prefix)
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    desk = Desk(Scripts(servers, confirmation, timeout_s=30.0), Keys(key_prefix, SERVICE))
    await desk.shop.join("worker", 3)
    yield desk
    await servers.aclose()


def some(*names: str) -> list[Artifact]:
    return [Artifact(name, a_file()) for name in names]


async def test_a_second_one_of_a_name_replaces_the_first(desk: Desk) -> None:
    job = await desk.begin("job")
    one, two, again = some("one.png", "two.png", "one.png")
    for artifact in (one, two, again):
        assert await desk.add(job, artifact)
    assert await desk.names("job") == ["one.png", "two.png"]
    assert await desk.held([one, two, again]) == [False, True, True]
    assert await desk.holders.unneeded(count=9) == [one.file.id]


async def test_a_repeated_report_changes_nothing(desk: Desk) -> None:
    job = await desk.begin("job")
    first, second = some("one.png", "one.png")
    await desk.add(job, first, said=1)
    await desk.add(job, second, said=2)
    # The worker has lost its connection before it learned of this.
    await desk.add(job, first, said=1)
    await desk.add(job, second, said=2)
    assert await desk.held([first, second]) == [False, True]


async def test_a_file_that_another_entry_has_is_not_added(desk: Desk) -> None:
    mine, theirs = await desk.begin("mine"), await desk.begin("theirs")
    (artifact,) = some("one.png")
    await desk.add(theirs, artifact)
    await desk.add(mine, Artifact("stolen.png", artifact.file))
    assert await desk.names("mine") == []


async def test_the_bounds_hold_whatever_a_worker_reports(desk: Desk) -> None:
    job = await desk.begin("job")
    await desk.add(job, *some(*(f"{number}" for number in range(300))))
    assert len(await desk.names("job") or ()) == 256
    small = await desk.begin("small")
    await desk.add(small, *some("a", "b", "c"), most=14)
    assert await desk.names("small") == ["a", "b"]


async def test_another_attempt_replaces_what_the_earlier_one_added(desk: Desk) -> None:
    first = await desk.begin("job")
    old, new = some("old.png", "kept.png"), some("kept.png")
    await desk.add(first, *old)
    await desk.shop.leave("worker")
    await desk.shop.join("worker", 3)
    assert await desk.names("job") == ["old.png", "kept.png"], "until another attempt begins"
    second = await desk.again()
    assert second.attempt == 2
    assert await desk.names("job") == []
    assert not await desk.add(first, *some("late.png")), "the first one has been lost"
    await desk.add(second, *new)
    assert await desk.names("job") == ["kept.png"]
    assert await desk.held(old + new) == [False, False, True]
    await desk.complete(second)
    assert await desk.names("job") == ["kept.png"]


async def test_an_attempt_that_adds_nothing_leaves_nothing_of_the_one_before(desk: Desk) -> None:
    first = await desk.begin("job")
    old = some("old.png")
    await desk.add(first, *old)
    desk.shop.held["worker"].clear()
    rejected = Rejected(SERVICE, "worker", first.entry.index, first.attempt, "500", pauses_ms=(0,))
    assert await desk.shop.store.reject(rejected)
    await desk.shop.tickets.due()
    await desk.complete(await desk.again())
    assert await desk.names("job") == []
    assert await desk.held(old) == [False]


async def test_a_run_that_goes_on_as_another_attempt_keeps_what_it_has(desk: Desk) -> None:
    first = await desk.begin("job")
    kept = some("one.png", "two.png")
    await desk.add(first, *kept)
    await desk.shop.leave("worker")
    await desk.shop.join("worker", 3)
    # The same engine goes on; its worker reports everything again, at once.
    await desk.add(await desk.again(), *kept)
    assert await desk.held(kept) == [True, True]
    assert await desk.names("job") == ["one.png", "two.png"]


@pytest.mark.parametrize("events", [True, False])
@pytest.mark.parametrize("result", [b"done", None])
async def test_they_go_with_the_result_or_its_time(
    desk: Desk, result: bytes | None, events: bool
) -> None:
    job = await desk.begin("job", keep_ms=200, events=events)
    added = some("one.png")
    await desk.add(job, *added)
    await desk.complete(job, result)
    assert await desk.names("job") == ["one.png"]

    async def is_due() -> bool:
        return (await desk.shop.tickets.due()).done > 0

    await wait_until(is_due, "the time of the result is over")
    assert await desk.names("job") == []
    assert await desk.held(added) == [False]


async def test_a_job_without_a_result_has_them_for_as_long_as_a_result(desk: Desk) -> None:
    job = await desk.begin("job")
    added = some("one.png")
    await desk.add(job, *added)
    await desk.complete(job, None)
    assert await desk.names("job") == ["one.png"]
    await desk.shop.tickets.purge_ticket("job")
    assert await desk.held(added) == [False]


async def test_they_go_when_the_result_is_read_away(desk: Desk) -> None:
    job = await desk.begin("job")
    added = some("one.png")
    await desk.add(job, *added)
    await desk.complete(job)
    assert await desk.shop.sink.get(Read(Filter(), 1, take=True))
    await desk.shop.sink.truncate(2**53)
    assert await desk.held(added) == [False]


async def test_they_go_with_a_deleted_job(desk: Desk) -> None:
    job = await desk.begin("job")
    added = some("one.png")
    await desk.add(job, *added)
    await desk.shop.store.delete([job.entry.index])
    assert await desk.names("job") == []
    assert await desk.held(added) == [False]
