"""The jobs of the Python clients."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from client_sdk import AsyncQueueClient, IdInUse, JobEnded, NoResult, NotInTime, QueueClient
from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import JobsApi
from tests.running import TOKEN

pytestmark = pytest.mark.leaves_entries

STREAMING = {"stream": True, "piece_bytes": 4, "piece_delay_s": 0.02}
TEXT = "".join(f"{number:03d} " for number in range(20))


@pytest.fixture
async def client(api: JobsApi) -> AsyncIterator[AsyncQueueClient]:
    async with AsyncQueueClient(api.url, api.service, token=TOKEN) as opened:
        yield opened


async def test_a_job_is_submitted_streamed_and_read(
    api: JobsApi, client: AsyncQueueClient, start_worker: StartWorker
) -> None:
    job = await client.jobs.submit(TEXT, tags={"color": "blue"}, priority=1)
    assert (job.state, job.position) == ("queued", 0)
    with pytest.raises(NotInTime, match="it keeps running") as early:
        await client.jobs.result(job.id, timeout_s=0.0)
    assert isinstance(early.value, TimeoutError)
    await start_worker(api.url, api.service, engine_options=STREAMING)
    pieces = [piece async for piece in client.jobs.stream(job.id)]
    assert "".join(pieces) == TEXT
    assert len(pieces) > 1
    assert await client.jobs.result(job.id) == TEXT.encode()
    assert (await client.jobs.get(job.id)).has_ended
    with pytest.raises(JobEnded):
        await client.jobs.cancel(job.id)
    await client.jobs.delete(job.id)


async def test_a_canceled_job_has_no_result(client: AsyncQueueClient) -> None:
    job = await client.jobs.submit("x", job_id="mine")
    assert await client.jobs.submit("x", job_id="mine") == job
    with pytest.raises(IdInUse):
        await client.jobs.submit("y", job_id="mine")
    assert (await client.jobs.cancel(job.id)).state == "canceled"
    with pytest.raises(NoResult):
        await client.jobs.result(job.id, timeout_s=5)
    with pytest.raises(NoResult):
        async for _ in client.jobs.stream(job.id):
            pass


async def test_the_blocking_client_streams_too(api: JobsApi, start_worker: StartWorker) -> None:
    await start_worker(api.url, api.service, engine_options=STREAMING)

    def use() -> tuple[str, list[str], bytes]:
        with QueueClient(api.url, api.service, token=TOKEN) as client:
            job = client.jobs.submit(TEXT)
            text = "".join(client.jobs.stream(job.id))
            kinds = [event.kind for event in client.jobs.events(job.id)]
            assert client.jobs.run(TEXT, timeout_s=30) == TEXT.encode()
            return text, kinds, client.jobs.result(job.id)

    text, kinds, result = await asyncio.to_thread(use)
    assert (text, result) == (TEXT, TEXT.encode())
    assert kinds[0] == "attempt"
    assert kinds[-1] == "end"


async def test_a_job_is_run_in_one_call(
    api: JobsApi, client: AsyncQueueClient, start_worker: StartWorker
) -> None:
    with pytest.raises(NotInTime) as late:
        await client.jobs.run("x", job_id="mine", timeout_s=0.1)
    assert late.value.fields == {"job_id": "mine"}
    running = asyncio.create_task(client.jobs.run("x", job_id="mine"))
    await start_worker(api.url, api.service)
    assert await running == b"x", "the same job, which went on"
    assert (await client.jobs.get("mine")).state == "succeeded", "whose id is known"
    assert await client.jobs.run("y") == b"y"
    listed = (await api.call("GET")).json["jobs"]
    assert [job["id"] for job in listed] == ["mine"], "nobody knows the other's id"
    await client.jobs.run("z", job_id="rarely", retry={"max_attempts": 2})
    assert (await api.job("rarely"))["max_attempts"] == 2
