"""Jobs of one team that fail, or kill engines, take no worker from another team."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from client_sdk.wire import events
from client_sdk.wire import worker as wire
from tests.conftest import StartService, StartWorker
from tests.inference_worker.conftest import HANDLERS
from tests.promises.peer import Peer
from tests.queue_service.web.jobs.api import TAKEN, text_of
from tests.running import TOKEN
from tests.tenants.conftest import Tenants
from tests.tenants.team import Team
from tests.waiting import wait_until

pytestmark = [pytest.mark.leaves_entries, pytest.mark.timeout(180)]
#: Until an engine that was killed several times has loaded again, on a busy machine, in seconds.
RELOADED_S = 120.0

Build = Callable[..., Awaitable[Tenants]]


@pytest.fixture
def build(start_service: StartService, session: aiohttp.ClientSession) -> Build:
    """Make a tenants that real workers serve."""

    async def make(**settings: object) -> Tenants:
        wanted = {"name": "svc", **settings}
        service = await start_service(wanted, result_retention_ms=3_600_000)
        own = Team(session, service.url, TOKEN)
        return Tenants(own, await own.make(), await own.make())

    return make


async def _put(team: Team, count: int, data: bytes) -> list[str]:
    """Put jobs; return their ids."""
    answers = [await team.call("POST", data=data) for _ in range(count)]
    assert {answer.status for answer in answers} <= set(TAKEN), answers
    return [answer.json["id"] for answer in answers]


async def _end(team: Team, job: str) -> None:
    async def has_ended() -> bool:
        answer = await team.call("GET", f"/{job}/result", params={"wait": "10s"})
        return answer.status != 202

    await wait_until(has_ended, "the job has ended", RELOADED_S)


async def _ended(team: Team, jobs: list[str]) -> Counter[str]:
    """Wait until every job has ended; count their states."""
    shown = []
    for job in jobs:
        await _end(team, job)
        shown.append((await team.call("GET", f"/{job}")).json)
    assert {job["attempt"] for job in shown} == {1}, "none was charged for another team's"
    return Counter(job["state"] for job in shown)


@pytest.mark.parametrize("word", ["raise", "busy"])
async def test_failures_of_one_team_make_no_worker_rest_while_another_has_jobs(
    build: Build, start_worker: StartWorker, word: str
) -> None:
    tenants = await build()
    worker = await start_worker(tenants.own.url, engine=f"{HANDLERS}:obey", worker_threads=1)
    first = await _put(tenants.blue, 1, b"sleep 0.01")
    assert await _ended(tenants.blue, first) == Counter(succeeded=1)
    bad = await _put(tenants.red, 20, word.encode())
    good = await _put(tenants.blue, 10, b"sleep 0.05")
    assert await _ended(tenants.blue, good) == Counter(succeeded=10)
    for job in bad:
        await _end(tenants.red, job)
    assert "is answered with its error" in worker.log
    # Also when nothing of the other team waits, as the engine has worked for it a moment ago.
    assert "the worker pauses" not in worker.log


async def test_failures_of_two_teams_make_the_worker_rest(
    build: Build, start_worker: StartWorker
) -> None:
    tenants = await build()
    for team in (tenants.red, tenants.blue):
        await _put(team, 3, b"raise")
    worker = await start_worker(tenants.own.url, engine=f"{HANDLERS}:obey", worker_threads=1)
    await wait_until(lambda: "the worker pauses" in worker.log, "the engine is sick", RELOADED_S)


async def test_failures_of_a_team_that_is_alone_make_the_worker_rest(
    build: Build, start_worker: StartWorker
) -> None:
    tenants = await build()
    worker = await start_worker(tenants.own.url, engine=f"{HANDLERS}:obey", worker_threads=1)
    await _put(tenants.red, 5, b"raise")
    await wait_until(lambda: "the worker pauses" in worker.log, "the engine is sick", RELOADED_S)


async def test_poison_of_one_team_costs_another_no_job_and_no_attempt(
    build: Build, start_worker: StartWorker
) -> None:
    # A single attempt: a job that is charged for the crash of another has none left.
    tenants = await build(max_delivery=1)
    poison = await _put(tenants.red, 2, b"kill")
    good = await _put(tenants.blue, 8, b"sleep 0.3")
    worker = await start_worker(tenants.own.url, engine=f"{HANDLERS}:misbehave", worker_threads=4)
    assert await _ended(tenants.blue, good) == Counter(succeeded=8)
    for job in poison:
        await _end(tenants.red, job)
        error = (await tenants.red.call("GET", f"/{job}")).json["error"]
        assert error["code"] in ("PoisonJob", "EngineDied"), error
    assert "is rejected with EngineDied" in worker.log


async def test_an_engine_that_one_team_kills_again_is_paid_for_with_its_turns(
    tenants: Tenants,
) -> None:
    await _put(tenants.red, 10, b"kill")
    good = await _put(tenants.blue, 10, b"good")
    killed = 0

    def answer(peer: Peer, delivery: wire.Delivery) -> None:
        nonlocal killed
        killed += delivery.data == b"kill"
        task = asyncio.ensure_future(
            peer.reject(delivery.index, "EngineDied")
            if delivery.data == b"kill"
            else peer.complete(delivery.index)
        )
        answering.add(task)
        task.add_done_callback(answering.discard)

    answering: set[asyncio.Future[None]] = set()
    worker = Peer(tenants.own.session, 1, on_delivery=answer)
    await worker.connect(tenants.own.url)
    for job in good:
        await _end(tenants.blue, job)
        # One of them, and another one before the price of the first is known.
        assert killed <= 2
    await worker.cut()


async def test_a_worker_tells_owners_apart_and_learns_nothing_else(tenants: Tenants) -> None:
    for team, data in ((tenants.red, b"red"), (tenants.red, b"red"), (tenants.blue, b"blue")):
        await _put(team, 1, data)
    await tenants.own.put(b"own")
    worker = Peer(tenants.own.session, 10)
    await worker.connect(tenants.own.url)
    await wait_until(lambda: len(worker.handed) == 4, "the worker has all")
    marks: dict[bytes, set[bytes]] = {}
    for delivery in worker.handed:
        marks.setdefault(delivery.data, set()).add(delivery.owner_mark)
        assert delivery.has_rivals
        for team in (tenants.red, tenants.blue):
            assert team.token_id.encode() not in wire.encode_to_worker(wire.Deliveries((delivery,)))
    assert {len(found) for found in marks.values()} == {1}
    assert len({*marks[b"red"], *marks[b"blue"], b""}) == 3
    assert marks[b"own"] == {b""}
    await worker.complete(*list(worker.held))
    await wait_until(lambda: len(worker.outcomes) == 4, "all is answered")
    await _put(tenants.red, 1, b"red")
    await wait_until(lambda: len(worker.handed) == 5, "it is there")
    assert (worker.handed[-1].owner_mark, worker.handed[-1].has_rivals) == (*marks[b"red"], False)
    await worker.complete(*list(worker.held))
    await wait_until(lambda: len(worker.outcomes) == 5, "it is answered")
    await worker.cut()


@pytest.mark.parametrize("code", ["Shutdown", "EngineDied"])
async def test_what_an_attempt_told_that_does_not_count_is_void(
    tenants: Tenants, code: str
) -> None:
    (job,) = await _put(tenants.red, 1, b"x")
    worker = Peer(tenants.own.session, 1)
    await worker.connect(tenants.own.url)

    async def tell(*words: str) -> wire.Delivery:
        await wait_until(lambda: worker.held, "the worker has it")
        (delivery,) = worker.held.values()
        said = [
            events.Event(
                delivery.index, delivery.attempt, job, number, events.DELTA, word.encode(), 1
            )
            for number, word in enumerate(words, 1)
        ]
        await worker.send(events.Events(tuple(said)))
        return delivery

    first = await tell("old ", "text ")
    worker.held.clear()
    given_back = wire.Rejection(first.index, 1, code, request_id=job, uncharged=True)
    await worker.send(wire.Rejections((given_back,)))
    second = await tell("new ", "words ", "come")
    assert (second.attempt, second.deaths) == (1, int(code == "EngineDied"))
    await worker.complete(second.index)
    seen = [event async for event in tenants.red.jobs.events(job, token=tenants.red.token)]
    assert text_of(seen) == "new words come"
    await worker.cut()
