"""Cancelling: each state has one honest outcome, and the place in the window comes free."""

import asyncio

import pytest

from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import JobsApi
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


async def cancel(api: JobsApi, job_id: str, wait_s: int = 0) -> tuple[int, str]:
    headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
    answer = await api.call("POST", f"/{job_id}/cancel", headers=headers)
    return answer.status, answer.json["state"] if answer.status != 404 else ""


async def until(api: JobsApi, job_id: str, state: str) -> None:
    async def reached() -> bool:
        return await api.state(job_id) == state

    await wait_until(reached, f"the job is {state}")


async def slow(api: JobsApi, start_worker: StartWorker, *, capacity: int) -> None:
    await start_worker(
        api.url, api.service, worker_threads=capacity, engine_options={"delay_s": 60}
    )


async def test_a_queued_job_is_canceled_at_once(api: JobsApi) -> None:
    job_id = await api.submit()
    assert await cancel(api, job_id) == (200, "canceled")
    # Twice is as good as once.
    assert await cancel(api, job_id) == (200, "canceled")
    answer = await api.call("GET", f"/{job_id}/result")
    assert (answer.status, answer.json["code"], answer.json["state"]) == (
        409,
        "NO_RESULT",
        "canceled",
    )


async def test_a_job_that_was_to_begin_later_is_canceled_at_once(api: JobsApi) -> None:
    job_id = await api.submit(params={"not_before": "1h"})
    assert await cancel(api, job_id) == (200, "canceled")


@pytest.mark.parametrize("capacity", [1, 4])
async def test_a_running_job_is_stopped_and_its_place_is_given_to_the_next(
    api: JobsApi, start_worker: StartWorker, capacity: int
) -> None:
    await slow(api, start_worker, capacity=capacity)
    running = [await api.submit() for _ in range(capacity)]
    for job_id in running:
        await until(api, job_id, "running")
    waiting = await api.submit()
    assert await api.state(waiting) == "queued"
    assert await cancel(api, running[0], wait_s=20) == (200, "canceled")
    await until(api, waiting, "running")
    for job_id in [*running[1:], waiting]:
        assert await cancel(api, job_id, wait_s=20) == (200, "canceled")


async def test_without_waiting_the_answer_is_that_the_worker_is_notified(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await slow(api, start_worker, capacity=1)
    job_id = await api.submit()
    await until(api, job_id, "running")
    status, state = await cancel(api, job_id)
    assert (status, state) in {(202, "running"), (200, "canceled")}
    await until(api, job_id, "canceled")


async def test_a_running_job_that_eas_has_put_is_canceled_too(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await slow(api, start_worker, capacity=1)
    async with api.session.post(api.eas, params={"requestId": "mine"}, data=b"x"):
        pass
    await until(api, "mine", "running")
    assert await cancel(api, "mine", wait_s=20) == (200, "canceled")


async def test_an_entry_that_is_deleted_frees_its_worker(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await slow(api, start_worker, capacity=1)
    async with api.session.post(api.eas, params={"requestId": "mine"}, data=b"x") as answer:
        index = await answer.text()
    await until(api, "mine", "running")
    async with api.session.delete(api.eas, params={"_indexes_": index}) as answer:
        assert answer.status == 200
    following = await api.submit()
    await until(api, following, "running")
    assert await cancel(api, following, wait_s=20) == (200, "canceled")


async def test_a_finished_job_cannot_be_canceled(api: JobsApi, start_worker: StartWorker) -> None:
    await start_worker(api.url, api.service)
    job_id = await api.submit()
    await until(api, job_id, "succeeded")
    answer = await api.call("POST", f"/{job_id}/cancel")
    assert (answer.status, answer.json["code"], answer.json["state"]) == (409, "ENDED", "succeeded")
    assert (await api.call("GET", f"/{job_id}/result")).body == b"x"


async def test_an_unknown_job_cannot_be_canceled(api: JobsApi) -> None:
    assert await cancel(api, "nobody-knows-it") == (404, "")


async def test_of_jobs_canceled_while_they_finish_each_has_the_outcome_that_was_reported(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await start_worker(
        api.url, api.service, worker_threads=4, engine_options={"delay_s": [0.0, 0.05]}
    )
    ids = [await api.submit(str(n).encode()) for n in range(40)]
    outcomes = await asyncio.gather(*(cancel(api, job_id, wait_s=20) for job_id in ids))
    for number, (job_id, (status, state)) in enumerate(zip(ids, outcomes, strict=True)):
        result = await api.call("GET", f"/{job_id}/result")
        if status == 200:
            assert (state, result.status, result.json["state"]) == ("canceled", 409, "canceled")
        else:
            assert (status, result.status) == (409, 200)
            assert result.body == str(number).encode()


async def test_a_job_whose_worker_dies_while_it_is_canceled_does_not_run_again(
    api: JobsApi, start_worker: StartWorker
) -> None:
    worker = await start_worker(
        api.url, api.service, worker_threads=1, engine_options={"delay_s": 60}
    )
    job_id = await api.submit()
    await until(api, job_id, "running")
    worker.freeze()
    assert (await cancel(api, job_id))[0] == 202
    assert (await api.job(job_id))["canceling"]
    worker.kill()
    await until(api, job_id, "canceled")
