"""Jobs of which one replica has the worker and another the client."""

import asyncio

import aiohttp
import pytest

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.jobs.api import JobsApi, Sent, text_of
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

TEXT = "".join(f"{number:03d} " for number in range(20))


async def test_a_job_is_followed_and_canceled_through_another_replica(
    session: aiohttp.ClientSession, start_service: StartService, start_worker: StartWorker
) -> None:
    # A tick of a minute: what comes in time has come by a ring.
    near, far = [
        await start_service(result_retention_ms=3_600_000, tick_ms=60_000) for _ in range(2)
    ]
    api = JobsApi(session, far.url)
    await start_worker(
        near.url,
        worker_threads=1,
        engine_options={"stream": True, "piece_bytes": 4, "piece_delay_s": 0.02},
    )
    job_id = await api.submit(TEXT.encode())
    events: list[Sent] = [event async for event in api.events(job_id)]
    assert text_of(events) == TEXT
    assert len([event for event in events if event.kind == "delta"]) > 1

    slow = await api.submit(1000 * TEXT.encode()[:8])
    following = asyncio.create_task(_first_delta(api, slow))
    await asyncio.wait_for(following, 30)
    answer = await api.call("POST", f"/{slow}/cancel", headers={"Prefer": "wait=20"})
    assert (answer.status, answer.json["state"]) == (200, "canceled")

    async def ended() -> bool:
        return await JobsApi(session, near.url).state(slow) == "canceled"

    await wait_until(ended, "the other replica says so too")


async def _first_delta(api: JobsApi, job_id: str) -> None:
    async for event in api.events(job_id):
        if event.kind == "delta":
            return
