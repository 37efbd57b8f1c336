"""When a job may begin, and by when it must have begun or ended."""

import json
from typing import Any

import pytest

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import JobsApi
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


async def test_a_job_is_not_begun_before_its_time(api: JobsApi, start_worker: StartWorker) -> None:
    await start_worker(api.url, api.service)
    job_id = await api.submit(b"later", params={"not_before": "1500ms"})
    job = await api.job(job_id)
    assert (job["state"], job["scheduled"], job["index"]) == ("queued", True, None)
    result = await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (result.status, result.body) == (200, b"later")
    job = await api.job(job_id)
    assert job["started_at"] >= job["not_before"]


async def test_a_job_that_is_not_begun_in_time_expires_with_one_answer(api: JobsApi) -> None:
    job_id = await api.submit(params={"start_by": "300ms"})
    await _until_expired(api, job_id)
    answer = await api.call("GET", f"/{job_id}/result")
    assert (answer.status, answer.json["state"], answer.json["reason"]) == (
        409,
        "expired",
        "Expired",
    )
    async with api.session.get(
        f"{api.eas}/sink", params={"requestId": job_id, "_raw_": "false", "_length_": "5"}
    ) as frames:
        (frame,) = await frames.json()
    assert frame["tags"]["errorCode"] == "Expired"


async def test_a_job_that_is_not_done_in_time_is_stopped(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service, worker_threads=1, engine_options={"delay_s": 60})
    job_id = await api.submit(params={"finish_by": "2s", "start_by": "1500ms"})
    await _until_expired(api, job_id)
    # It had begun, and the place that it took is free.
    assert (await api.job(job_id))["started_at"]
    following = await api.submit()

    async def runs() -> bool:
        return await api.state(following) == "running"

    await wait_until(runs, "the next one runs")
    answer = await api.call("POST", f"/{following}/cancel", headers={"Prefer": "wait=20"})
    assert answer.status == 200


async def test_an_attempt_that_runs_too_long_is_cut_off(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service, worker_threads=1, engine_options={"delay_s": 60})
    job_id = await api.submit(params={"run_timeout": "100ms"})
    answer = await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (answer.status, answer.json["reason"]) == (409, "RunTimeout")


async def _until_expired(api: JobsApi, job_id: str) -> None:
    async def expired() -> bool:
        return await api.state(job_id) == "expired"

    await wait_until(expired, "the job has expired")


@pytest.mark.parametrize("option", ["start_by", "finish_by"])
@pytest.mark.parametrize("value", ["2020-01-01T00:00:00Z", "1us"])
async def test_a_job_whose_time_is_over_when_it_comes_is_refused_and_leaves_nothing(
    api: JobsApi, option: str, value: str
) -> None:
    answers = [await api.call("POST", data=b"x", params={option: value}) for _ in range(3)]
    answers.append(await api.call("PUT", "/late", data=b"x", params={option: value}))
    for answer in answers:
        assert (answer.status, answer.json["parameter"]) == (400, option), answer
        assert "in the future" in answer.json["detail"] or "time" in answer.json["detail"]
    lines = json.dumps({"input": "x", option: value}) + "\n" + json.dumps({"input": "y"})
    ndjson = {"Content-Type": "application/x-ndjson"}
    batch = await api.call("POST", data=lines.encode(), headers=ndjson)
    late, taken = map(json.loads, batch.body.splitlines())
    assert (late["status"], taken["status"]) == (400, 202)
    listed = await api.call("GET")
    assert [job["id"] for job in listed.json["jobs"]] == [taken["id"]]
    assert (await api.call("GET", "/late")).status == 404


async def test_a_job_that_was_put_in_time_is_known_when_it_is_put_again_too_late(
    api: JobsApi,
) -> None:
    wanted: dict[str, Any] = {"params": {"start_by": "200ms"}, "data": b"x"}
    # On a slow machine it has expired before it is answered.
    assert (await api.call("PUT", "/once", **wanted)).status in (202, 200)
    await _until_expired(api, "once")
    again = await api.call("PUT", "/once", **wanted)
    assert (again.status, again.json["state"]) == (200, "expired")


@pytest.mark.parametrize(
    ("options", "named", "expected"),
    [
        ({"not_before": "744h"}, "not_before", "a time within 2592000 s"),
        ({"not_before": "2h", "start_by": "1h"}, "start_by", "a time after not_before"),
        ({"not_before": "2h", "finish_by": "1h"}, "finish_by", "a time after not_before"),
    ],
)
async def test_a_job_that_would_hold_its_place_for_ever_or_can_never_run_is_refused(
    api: JobsApi, options: dict[str, str], named: str, expected: str
) -> None:
    answer = await api.call("POST", data=b"x", params=options)
    assert (answer.status, answer.json["parameter"]) == (400, named)
    assert expected in answer.json["detail"]
    assert (await api.call("GET")).json["jobs"] == []


async def test_a_put_with_the_id_of_a_job_makes_no_second_entry(api: JobsApi) -> None:
    later = await api.submit(b"later", params={"not_before": "1h"})
    waiting = await api.submit(b"now")
    index = (await api.job(waiting))["index"]
    async with api.session.post(api.eas, data=b"again", params={"requestId": waiting}) as answer:
        assert (answer.status, await answer.text()) == (200, str(index)), "as for any repeated put"
    for _ in range(2):
        async with api.session.post(api.eas, data=b"again", params={"requestId": later}) as answer:
            assert answer.status == 409
            assert answer.headers[names.ERROR_CODE_HEADER] == Code.REQUEST_ID_IN_USE
            assert later in await answer.text()
    async with api.session.get(api.eas, params={"_count_": "true"}) as answer:
        assert await answer.text() == "1"
    assert (await api.job(later))["scheduled"]
    # A client can cancel it, and then the id is free.
    assert (await api.call("POST", f"/{later}/cancel")).status == 200
    async with api.session.post(api.eas, data=b"again", params={"requestId": later}) as answer:
        assert (answer.status, await answer.text()) == (200, str(index + 1))
