"""Following jobs: places, pieces, the end; with nothing missing and nothing twice."""

import asyncio
import random

import aiohttp
import pytest

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.jobs.api import JobsApi, Sent, text_of
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

#: An echo that says its input piece by piece.
STREAMING = {"stream": True, "piece_bytes": 4, "piece_delay_s": 0.02}
TEXT = "".join(f"{number:03d} " for number in range(50))


async def collect(api: JobsApi, job_id: str, last_id: str = "") -> list[Sent]:
    return [event async for event in api.events(job_id, last_id)]


async def test_a_job_is_followed_from_the_line_to_its_end(
    api: JobsApi, start_worker: StartWorker
) -> None:
    job_id = await api.submit(TEXT.encode())
    following = asyncio.create_task(collect(api, job_id))
    await wait_until(lambda: not following.done(), "it is followed")
    await start_worker(api.url, api.service, engine_options=STREAMING)
    events = await asyncio.wait_for(following, 30)
    kinds = [event.kind for event in events]
    assert kinds[0] == "state"
    assert events[0].data["position"] == 0
    assert {"attempt", "delta", "usage"} < set(kinds)
    assert kinds[-1] == "end"
    assert events[-1].data["state"] == "succeeded"
    assert kinds.count("delta") > 1
    assert text_of(events) == TEXT
    assert [int(event.id) for event in events if event.id.isdigit()] == list(
        range(1, sum(event.id.isdigit() for event in events) + 1)
    )


async def test_a_follower_that_comes_back_misses_nothing_and_sees_nothing_twice(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service, engine_options=STREAMING)
    job_id = await api.submit(TEXT.encode())
    whole = await collect(api, job_id)
    numbered = [event for event in whole if event.id.isdigit()]
    for seen in (1, len(numbered) // 2, len(numbered)):
        rest = await collect(api, job_id, last_id=numbered[seen - 1].id)
        assert [event for event in rest if event.id.isdigit()] == numbered[seen:]
        assert rest[-1].kind == "end"
    answer = await api.call("GET", f"/{job_id}/events", headers={"Last-Event-ID": "end"})
    assert answer.status == 204


async def test_nothing_is_written_down_that_nobody_asked_for(
    api: JobsApi, start_worker: StartWorker, redis_url: str
) -> None:
    await start_worker(api.url, api.service, engine_options=STREAMING)
    job_id = await api.submit(TEXT.encode(), params={"events": "false"})
    events = await collect(api, job_id)
    assert {event.kind for event in events} <= {"state", "end"}
    async with api.session.post(api.eas, params={"requestId": "eas"}, data=b"x"):
        pass
    events = await collect(api, "eas")
    assert {event.kind for event in events} <= {"state", "end"}


async def test_a_new_attempt_begins_the_text_again(api: JobsApi, start_worker: StartWorker) -> None:
    worker = await start_worker(
        api.url, api.service, engine_options={**STREAMING, "piece_delay_s": 0.1}
    )
    job_id = await api.submit(TEXT.encode())
    events: list[Sent] = []

    async def follow() -> None:
        async for event in api.events(job_id):
            events.append(event)

    following = asyncio.create_task(follow())
    await wait_until(lambda: len(text_of(events)) > 8, "some text has come")
    worker.kill()
    await start_worker(api.url, api.service, engine_options=STREAMING)
    await asyncio.wait_for(following, 30)
    assert [event.data["attempt"] for event in events if event.kind == "attempt"] == [1, 2]
    assert text_of(events) == TEXT


async def test_a_restart_of_the_queue_service_costs_a_follower_nothing(
    session: aiohttp.ClientSession, start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(result_retention_ms=3_600_000)
    api = JobsApi(session, service.url)
    await start_worker(api.url, engine_options={**STREAMING, "piece_delay_s": 0.05})
    job_id = await api.submit(TEXT.encode())
    events: list[Sent] = []

    async def follow() -> None:
        while not events or events[-1].kind != "end":
            ids = [event.id for event in events if event.id]
            try:
                async for event in api.events(job_id, ids[-1] if ids else ""):
                    events.append(event)
            except aiohttp.ClientError:
                await wait_until(service.ready, "the service is back")

    following = asyncio.create_task(follow())
    await wait_until(lambda: len(text_of(events)) > 20, "some text has come")
    service.kill()
    await service.start()
    await asyncio.wait_for(following, 60)
    ids = [int(event.id) for event in events if event.id.isdigit()]
    assert ids == list(range(1, len(ids) + 1))
    assert [event.data["attempt"] for event in events if event.kind == "attempt"] == [1]
    assert text_of(events) == TEXT
    assert (await api.call("GET", f"/{job_id}/result")).body == TEXT.encode()


async def test_a_hundred_clients_see_their_places_fall_and_their_texts_grow(
    api: JobsApi, start_worker: StartWorker
) -> None:
    options = {"stream": True, "piece_bytes": 10, "piece_delay_s": 0.03}
    workers = [
        await start_worker(api.url, api.service, worker_threads=4, engine_options=options)
        for _ in range(2)
    ]
    assert len(workers) == 2
    running: set[str] = set()
    most = 0

    async def client(number: int) -> list[Sent]:
        nonlocal most
        text = f"{number:03d} {TEXT[:96]}"
        job_id = await api.submit(text.encode())
        events: list[Sent] = []
        # Every other client leaves now and then, and comes back.
        patience = random.Random(number).randint(3, 12) if number % 2 else 10_000
        while not events or events[-1].kind != "end":
            ids = [event.id for event in events if event.id]
            left = patience
            async for event in api.events(job_id, ids[-1] if ids else ""):
                events.append(event)
                left -= 1
                if left <= 0 and event.kind != "end":
                    break
        assert text_of(events) == text
        return events

    everything = await asyncio.gather(*(client(number) for number in range(100)))
    for events in everything:
        places = [e.data["position"] for e in events if e.kind == "state"]
        places = [place for place in places if place is not None]
        assert places == sorted(places, reverse=True)
        numbers = [int(event.id) for event in events if event.id.isdigit()]
        assert numbers == list(range(1, len(numbers) + 1))
    spans = [(events[-1].data["started_at"], events[-1].data["ended_at"]) for events in everything]
    for begun, _ in spans:
        running = {f"{b}{e}{i}" for i, (b, e) in enumerate(spans) if b <= begun < e}
        most = max(most, len(running))
    assert 0 < most <= 8
