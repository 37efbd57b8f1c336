"""`?wait=`, and what a job tells: how far it is, and why it failed."""

import asyncio
import time

import pytest

from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import JobsApi
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


@pytest.mark.parametrize("wait", ["30", "30s", "0.5m"])
async def test_a_post_that_waits_by_its_query_answers_with_the_result(
    api: JobsApi, start_worker: StartWorker, wait: str
) -> None:
    await start_worker(api.url, api.service)
    answer = await api.call("POST", f"?wait={wait}", data=b"x")
    assert (answer.status, answer.body) == (200, b"x")


async def test_how_long_a_client_waits_is_no_part_of_a_job(api: JobsApi) -> None:
    first = await api.call("PUT", "/mine?wait=0.1s&priority=1", data=b"x")
    assert first.status == 202
    again = await api.call("PUT", "/mine?priority=1", data=b"x", headers={"Prefer": "wait=1"})
    assert (again.status, again.json["id"]) == (202, "mine")
    assert again.headers["preference-applied"] == "wait=1"
    refused = await api.call("POST", "?wait=soon", data=b"x")
    assert (refused.status, refused.json["code"]) == (400, "BAD_PARAMETER")
    assert (await api.call("POST", "/mine/cancel?wait=1")).json["state"] == "canceled"


async def test_a_result_is_waited_for_by_either_way(api: JobsApi) -> None:
    job_id = await api.submit()
    for path, headers in (("?wait=1", {}), ("", {"Prefer": "wait=1"})):
        began = time.monotonic()
        answer = await api.call("GET", f"/{job_id}/result{path}", headers=headers)
        assert answer.status == 202
        assert time.monotonic() - began >= 0.9, "it waited"


async def test_a_job_tells_its_progress_and_then_its_error(
    api: JobsApi, start_worker: StartWorker
) -> None:
    engine = "handler:tests.inference_worker.handlers:TellsThenFails"
    await start_worker(api.url, api.service, engine=engine)
    job_id = await api.submit(b"a bad input")
    assert (await api.job(job_id))["error"] is None

    async def told() -> bool:
        return bool((await api.job(job_id))["progress"] == {"fraction": 0.25, "note": "a quarter"})

    await wait_until(told, "its progress is reported")
    listed = (await api.call("GET", "?state=running")).json["jobs"]
    assert listed[0]["progress"] == {"fraction": 0.25, "note": "a quarter"}
    await api.submit(b"go on")

    async def failed() -> bool:
        job = await api.job(job_id)
        assert job["state"] == "failed"
        return bool(job["error"]["message"] == "a bad input is bad" and job["error"]["code"])

    await wait_until(failed, "its error is reported")
    job = await api.job(job_id)
    assert job["error"]["code"] == job["reason"]
    assert job["progress"] is None
    (end,) = [event async for event in api.events(job_id) if event.kind == "end"]
    assert end.data["error"] == job["error"]


async def test_a_job_that_was_canceled_says_so(api: JobsApi) -> None:
    job_id = await api.submit()
    await asyncio.gather(api.call("POST", f"/{job_id}/cancel"))
    error = {"type": None, "code": "Canceled", "message": "it was canceled"}
    assert (await api.job(job_id))["error"] == error
