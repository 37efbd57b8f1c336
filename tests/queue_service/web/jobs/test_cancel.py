"""Cancelling: each state has one honest outcome, and the place in the window comes free."""

import asyncio

import pytest

from tests.conftest import StartWorker
from tests.queue_service.web.jobs.face import Face
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


async def cancel(face: Face, job_id: str, wait_s: int = 0) -> tuple[int, str]:
    headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
    answer = await face.call("POST", f"/{job_id}/cancel", headers=headers)
    return answer.status, answer.json["state"] if answer.status != 404 else ""


async def until(face: Face, job_id: str, state: str) -> None:
    async def reached() -> bool:
        return await face.state(job_id) == state

    await wait_until(reached, f"the job is {state}")


async def slow(face: Face, start_worker: StartWorker, *, capacity: int) -> None:
    await start_worker(
        face.url, face.service, worker_threads=capacity, engine_options={"delay_s": 60}
    )


async def test_a_queued_job_is_canceled_at_once(face: Face) -> None:
    job_id = await face.submit()
    assert await cancel(face, job_id) == (200, "canceled")
    # Twice is as good as once.
    assert await cancel(face, job_id) == (200, "canceled")
    answer = await face.call("GET", f"/{job_id}/result")
    assert (answer.status, answer.json["code"], answer.json["state"]) == (
        409,
        "NO_RESULT",
        "canceled",
    )


async def test_a_job_that_was_to_begin_later_is_canceled_at_once(face: Face) -> None:
    job_id = await face.submit(params={"not_before": "1h"})
    assert await cancel(face, job_id) == (200, "canceled")


@pytest.mark.parametrize("capacity", [1, 4])
async def test_a_running_job_is_stopped_and_its_place_is_given_to_the_next(
    face: Face, start_worker: StartWorker, capacity: int
) -> None:
    await slow(face, start_worker, capacity=capacity)
    running = [await face.submit() for _ in range(capacity)]
    for job_id in running:
        await until(face, job_id, "running")
    waiting = await face.submit()
    assert await face.state(waiting) == "queued"
    assert await cancel(face, running[0], wait_s=20) == (200, "canceled")
    await until(face, waiting, "running")
    for job_id in [*running[1:], waiting]:
        assert await cancel(face, job_id, wait_s=20) == (200, "canceled")


async def test_without_waiting_the_answer_is_that_the_worker_is_told(
    face: Face, start_worker: StartWorker
) -> None:
    await slow(face, start_worker, capacity=1)
    job_id = await face.submit()
    await until(face, job_id, "running")
    status, state = await cancel(face, job_id)
    assert (status, state) in {(202, "running"), (200, "canceled")}
    await until(face, job_id, "canceled")


async def test_a_running_job_that_eas_has_put_is_canceled_too(
    face: Face, start_worker: StartWorker
) -> None:
    await slow(face, start_worker, capacity=1)
    async with face.session.post(face.eas, params={"requestId": "mine"}, data=b"x"):
        pass
    await until(face, "mine", "running")
    assert await cancel(face, "mine", wait_s=20) == (200, "canceled")


async def test_an_entry_that_is_deleted_frees_its_worker(
    face: Face, start_worker: StartWorker
) -> None:
    await slow(face, start_worker, capacity=1)
    async with face.session.post(face.eas, params={"requestId": "mine"}, data=b"x") as answer:
        index = await answer.text()
    await until(face, "mine", "running")
    async with face.session.delete(face.eas, params={"_indexes_": index}) as answer:
        assert answer.status == 200
    following = await face.submit()
    await until(face, following, "running")
    assert await cancel(face, following, wait_s=20) == (200, "canceled")


async def test_a_finished_job_cannot_be_canceled(face: Face, start_worker: StartWorker) -> None:
    await start_worker(face.url, face.service)
    job_id = await face.submit()
    await until(face, job_id, "succeeded")
    answer = await face.call("POST", f"/{job_id}/cancel")
    assert (answer.status, answer.json["code"], answer.json["state"]) == (409, "ENDED", "succeeded")
    assert (await face.call("GET", f"/{job_id}/result")).body == b"x"


async def test_an_unknown_job_cannot_be_canceled(face: Face) -> None:
    assert await cancel(face, "nobody-knows-it") == (404, "")


async def test_of_jobs_canceled_while_they_finish_each_has_the_outcome_that_was_told(
    face: Face, start_worker: StartWorker
) -> None:
    await start_worker(
        face.url, face.service, worker_threads=4, engine_options={"delay_s": [0.0, 0.05]}
    )
    ids = [await face.submit(str(n).encode()) for n in range(40)]
    outcomes = await asyncio.gather(*(cancel(face, job_id, wait_s=20) for job_id in ids))
    for number, (job_id, (status, state)) in enumerate(zip(ids, outcomes, strict=True)):
        result = await face.call("GET", f"/{job_id}/result")
        if status == 200:
            assert (state, result.status, result.json["state"]) == ("canceled", 409, "canceled")
        else:
            assert (status, result.status) == (409, 200)
            assert result.body == str(number).encode()


async def test_a_job_whose_worker_dies_while_it_is_canceled_does_not_run_again(
    face: Face, start_worker: StartWorker
) -> None:
    worker = await start_worker(
        face.url, face.service, worker_threads=1, engine_options={"delay_s": 60}
    )
    job_id = await face.submit()
    await until(face, job_id, "running")
    worker.freeze()
    assert (await cancel(face, job_id))[0] == 202
    assert (await face.job(job_id))["canceling"]
    worker.kill()
    await until(face, job_id, "canceled")
