"""Putting jobs, looking at them, reading their results."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import JobsApi
from tests.running import TOKEN
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


async def test_a_job_is_put_and_its_result_is_read_as_often_as_one_likes(
    api: JobsApi, start_worker: StartWorker
) -> None:
    answer = await api.call("POST", data=b"hello", params={"tag": "color:blue"})
    assert answer.status == 202
    job = answer.json
    assert answer.headers["location"] == job["links"]["self"]
    assert int(answer.headers["retry-after"]) >= 1
    assert (job["state"], job["position"], job["attempt"]) == ("queued", 0, 0)

    await start_worker(api.url, api.service)
    result = await api.call("GET", f"/{job['id']}/result", params={"wait": "20s"})
    assert (result.status, result.body) == (200, b"hello")
    again = await api.call("GET", f"/{job['id']}/result")
    assert (again.status, again.body) == (200, b"hello")
    etag = result.headers["etag"]
    for known, status in ((etag, 304), (f'"0", W/{etag}', 304), ("*", 304), ('"0"', 200)):
        headers = {"If-None-Match": known}
        same = await api.call("GET", f"/{job['id']}/result", headers=headers)
        assert (same.status, known) == (status, known)
    ended = await api.job(job["id"])
    assert ended["state"] == "succeeded"
    assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"]
    assert ended["result_expires_at"] > ended["ended_at"]


async def test_a_job_without_a_worker_has_a_place_and_no_estimate(api: JobsApi) -> None:
    ids = [await api.submit() for _ in range(3)]
    jobs = [await api.job(job_id) for job_id in ids]
    assert [job["position"] for job in jobs] == [0, 1, 2]
    assert [job["estimate"] for job in jobs] == [None] * 3
    result = await api.call("GET", f"/{ids[0]}/result")
    assert result.status == 202
    assert result.json["state"] == "queued"


async def test_a_job_put_through_eas_is_seen_and_its_result_is_left_to_eas(
    api: JobsApi, start_worker: StartWorker
) -> None:
    eas = api.eas
    async with api.session.post(eas, params={"requestId": "mine"}, data=b"x") as answer:
        assert answer.status == 200
    assert await api.state("mine") == "queued"
    await start_worker(api.url, api.service)
    result = await api.call("GET", "/mine/result", params={"wait": "20s"})
    assert (result.status, result.body) == (200, b"x")
    async with api.session.get(f"{eas}/sink", params={"requestId": "mine"}) as answer:
        assert (answer.status, await answer.read()) == (200, b"x")
    assert (await api.call("GET", "/mine")).status == 404


async def test_a_job_whose_result_eas_has_read_is_still_told_of(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service)
    job_id = await api.submit(b"x")
    async with api.session.get(
        f"{api.eas}/sink", params={"requestId": job_id, "_timeout_": "20s"}
    ) as answer:
        assert answer.status == 200
        assert "_ticket_" not in answer.headers["X-Eas-Queueservice-Tags"]
    await wait_until(lambda: _gone(api, job_id), "the result is gone")
    assert await api.state(job_id) == "succeeded"


async def _gone(api: JobsApi, job_id: str) -> bool:
    return (await api.call("GET", f"/{job_id}/result")).status == 410


async def test_the_same_id_or_key_is_one_job(api: JobsApi) -> None:
    first = await api.call("PUT", "/mine", data=b"x")
    again = await api.call("PUT", "/mine", data=b"x")
    other = await api.call("PUT", "/mine", data=b"y")
    assert [a.status for a in (first, again, other)] == [202, 202, 409]
    assert other.json["code"] == "ID_IN_USE"

    headers = {"Idempotency-Key": "key"}
    first = await api.call("POST", data=b"x", headers=headers)
    again = await api.call("POST", data=b"x", headers=headers)
    other = await api.call("POST", data=b"y", headers=headers)
    assert [a.status for a in (first, again, other)] == [202, 202, 422]
    assert again.json["id"] == first.json["id"] == other.json["job_id"]


async def test_prefer_wait_answers_with_the_result_when_it_is_in_time(
    api: JobsApi, start_worker: StartWorker
) -> None:
    late = await api.call("POST", data=b"x", headers={"Prefer": "respond-async, wait=0"})
    assert late.status == 202
    await start_worker(api.url, api.service)
    answer = await api.call("POST", data=b"hello", headers={"Prefer": "wait=20"})
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["preference-applied"] == "wait=20"


async def test_a_job_that_fails_says_why(api: JobsApi, start_worker: StartWorker) -> None:
    await start_worker(
        api.url,
        api.service,
        engine_options={"fail_every": 1, "fail_retryable": False, "fail_code": "Bad"},
    )
    job_id = await api.submit()
    answer = await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (answer.status, answer.json["code"], answer.json["reason"]) == (409, "NO_RESULT", "Bad")
    job = await api.job(job_id)
    assert (job["state"], job["reason"]) == ("failed", "Bad")


async def test_an_empty_result_is_a_result(api: JobsApi, start_worker: StartWorker) -> None:
    await start_worker(api.url, api.service, engine_options={"answer": ""})
    job_id = await api.submit()
    answer = await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (answer.status, answer.body) == (204, b"")


async def test_many_jobs_are_put_with_an_outcome_for_each_line(api: JobsApi) -> None:
    lines = b"\n".join(
        [
            b'{"id": "a", "input": {"n": 1}}',
            b'{"id": "a", "input": {"n": 2}}',
            b"nonsense",
            b'{"input_base64": "AAE=", "priority": 1}',
            b'{"input": "x", "colour": 1}',
            b'{"input": NaN}',
            b'{"input": [1e999]}',
            b'{"input": "\\ud800"}',
        ]
    )
    answer = await api.call("POST", data=lines, headers={"Content-Type": "application/x-ndjson"})
    outcomes = [json.loads(line) for line in answer.body.splitlines()]
    assert [outcome["status"] for outcome in outcomes] == [202, 409, 400, 202, 400, 400, 400, 400]
    assert [outcome["line"] for outcome in outcomes] == list(range(1, 9))


async def test_jobs_are_listed_by_state_and_page_by_page(
    api: JobsApi, start_worker: StartWorker
) -> None:
    ids = {await api.submit(params={"priority": n % 2}) for n in range(5)}
    await api.call("PUT", "/later", params={"not_before": "1h"}, data=b"x")
    ids.add("later")
    canceled = await api.submit()
    assert (await api.call("POST", f"/{canceled}/cancel")).status == 200
    found: list[str] = []
    after = None
    while True:
        params = {"limit": "2", **({"after": after} if after else {})}
        page = (await api.call("GET", params=params)).json
        found += [job["id"] for job in page["jobs"]]
        after = page["after"]
        if not after:
            break
    assert sorted(found) == sorted(ids | {canceled})
    queued = (await api.call("GET", params={"state": "queued"})).json["jobs"]
    assert {job["id"] for job in queued} == ids
    (one,) = (await api.call("GET", params={"state": "canceled"})).json["jobs"]
    assert one["id"] == canceled


async def test_a_deleted_job_is_forgotten(api: JobsApi, start_worker: StartWorker) -> None:
    waiting = await api.submit()
    assert (await api.call("DELETE", f"/{waiting}")).status == 204
    assert (await api.call("GET", f"/{waiting}")).status == 404
    await start_worker(api.url, api.service)
    job_id = await api.submit()
    assert (await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})).status == 200
    assert (await api.call("DELETE", f"/{job_id}")).status == 204
    assert (await api.call("GET", f"/{job_id}")).status == 404
    assert (await api.call("DELETE", f"/{job_id}")).status == 404


@pytest.mark.parametrize(
    "params",
    [{"priority": "-1"}, {"start_by": "soon"}, {"run_timeout": "0"}, {"colour": "1"}, {"id": "x"}],
)
async def test_a_bad_option_is_a_problem_and_puts_nothing(
    api: JobsApi, params: dict[str, str]
) -> None:
    answer = await api.call("POST", data=b"x", params=params)
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json["code"] == "BAD_PARAMETER"
    assert (await api.call("GET")).json["jobs"] == []


async def test_odd_bytes_are_no_defect(api: JobsApi) -> None:
    writer: asyncio.StreamWriter
    parts = urlsplit(api.base)
    for head, ending in (
        (b"POST %s?path=%%ff&tag=%%ff:%%fe", b""),
        (b"POST %s", b"Content-Type: \xff\xfe\r\n"),
        (b"GET %s/%%ff%%00%%0a", b""),
        (b"POST %s/%%ff%%1f/cancel", b""),
        (b"GET %s?after=sink:%%ff", b""),
    ):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(
            head % parts.path.encode() + b" HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
        )
        writer.write(TOKEN.encode() + b"\r\n" + ending + b"Content-Length: 1\r\n\r\nx")
        status = int((await reader.readline()).split()[1])
        writer.close()
        assert status < 500, (head, status)
