"""Putting jobs, looking at them, reading their results."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from tests.conftest import StartWorker
from tests.queue_service.web.jobs.face import Face
from tests.running import TOKEN
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


async def test_a_job_is_put_and_its_result_is_read_as_often_as_one_likes(
    face: Face, start_worker: StartWorker
) -> None:
    answer = await face.call("POST", data=b"hello", params={"tag": "color:blue"})
    assert answer.status == 202
    job = answer.json
    assert answer.headers["location"] == job["links"]["self"]
    assert int(answer.headers["retry-after"]) >= 1
    assert (job["state"], job["position"], job["attempt"]) == ("queued", 0, 0)

    await start_worker(face.url, face.service)
    result = await face.call("GET", f"/{job['id']}/result", params={"wait": "20s"})
    assert (result.status, result.body) == (200, b"hello")
    again = await face.call("GET", f"/{job['id']}/result")
    assert (again.status, again.body) == (200, b"hello")
    etag = result.headers["etag"]
    for known, status in ((etag, 304), (f'"0", W/{etag}', 304), ("*", 304), ('"0"', 200)):
        headers = {"If-None-Match": known}
        same = await face.call("GET", f"/{job['id']}/result", headers=headers)
        assert (same.status, known) == (status, known)
    ended = await face.job(job["id"])
    assert ended["state"] == "succeeded"
    assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"]
    assert ended["result_expires_at"] > ended["ended_at"]


async def test_a_job_without_a_worker_has_a_place_and_no_estimate(face: Face) -> None:
    ids = [await face.submit() for _ in range(3)]
    jobs = [await face.job(job_id) for job_id in ids]
    assert [job["position"] for job in jobs] == [0, 1, 2]
    assert [job["estimate"] for job in jobs] == [None] * 3
    result = await face.call("GET", f"/{ids[0]}/result")
    assert result.status == 202
    assert result.json["state"] == "queued"


async def test_a_job_put_through_eas_is_seen_and_its_result_is_left_to_eas(
    face: Face, start_worker: StartWorker
) -> None:
    eas = face.eas
    async with face.session.post(eas, params={"requestId": "mine"}, data=b"x") as answer:
        assert answer.status == 200
    assert await face.state("mine") == "queued"
    await start_worker(face.url, face.service)
    result = await face.call("GET", "/mine/result", params={"wait": "20s"})
    assert (result.status, result.body) == (200, b"x")
    async with face.session.get(f"{eas}/sink", params={"requestId": "mine"}) as answer:
        assert (answer.status, await answer.read()) == (200, b"x")
    assert (await face.call("GET", "/mine")).status == 404


async def test_a_job_whose_result_eas_has_read_is_still_told_of(
    face: Face, start_worker: StartWorker
) -> None:
    await start_worker(face.url, face.service)
    job_id = await face.submit(b"x")
    async with face.session.get(
        f"{face.eas}/sink", params={"requestId": job_id, "_timeout_": "20s"}
    ) as answer:
        assert answer.status == 200
        assert "_ticket_" not in answer.headers["X-Eas-Queueservice-Tags"]
    await wait_until(lambda: _gone(face, job_id), "the result is gone")
    assert await face.state(job_id) == "succeeded"


async def _gone(face: Face, job_id: str) -> bool:
    return (await face.call("GET", f"/{job_id}/result")).status == 410


async def test_the_same_id_or_key_stands_for_one_job(face: Face) -> None:
    first = await face.call("PUT", "/mine", data=b"x")
    again = await face.call("PUT", "/mine", data=b"x")
    other = await face.call("PUT", "/mine", data=b"y")
    assert [a.status for a in (first, again, other)] == [202, 202, 409]
    assert other.json["code"] == "ID_IN_USE"

    headers = {"Idempotency-Key": "key"}
    first = await face.call("POST", data=b"x", headers=headers)
    again = await face.call("POST", data=b"x", headers=headers)
    other = await face.call("POST", data=b"y", headers=headers)
    assert [a.status for a in (first, again, other)] == [202, 202, 422]
    assert again.json["id"] == first.json["id"] == other.json["job_id"]


async def test_prefer_wait_answers_with_the_result_when_it_is_in_time(
    face: Face, start_worker: StartWorker
) -> None:
    late = await face.call("POST", data=b"x", headers={"Prefer": "respond-async, wait=0"})
    assert late.status == 202
    await start_worker(face.url, face.service)
    answer = await face.call("POST", data=b"hello", headers={"Prefer": "wait=20"})
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["preference-applied"] == "wait=20"


async def test_a_job_that_fails_says_why(face: Face, start_worker: StartWorker) -> None:
    await start_worker(
        face.url,
        face.service,
        engine_options={"fail_every": 1, "fail_retryable": False, "fail_code": "Bad"},
    )
    job_id = await face.submit()
    answer = await face.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (answer.status, answer.json["code"], answer.json["reason"]) == (409, "NO_RESULT", "Bad")
    job = await face.job(job_id)
    assert (job["state"], job["reason"]) == ("failed", "Bad")


async def test_an_empty_result_is_a_result(face: Face, start_worker: StartWorker) -> None:
    await start_worker(face.url, face.service, engine_options={"answer": ""})
    job_id = await face.submit()
    answer = await face.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (answer.status, answer.body) == (204, b"")


async def test_many_jobs_are_put_with_an_outcome_for_each_line(face: Face) -> None:
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
    answer = await face.call("POST", data=lines, headers={"Content-Type": "application/x-ndjson"})
    outcomes = [json.loads(line) for line in answer.body.splitlines()]
    assert [outcome["status"] for outcome in outcomes] == [202, 409, 400, 202, 400, 400, 400, 400]
    assert [outcome["line"] for outcome in outcomes] == list(range(1, 9))


async def test_jobs_are_listed_by_state_and_page_by_page(
    face: Face, start_worker: StartWorker
) -> None:
    ids = {await face.submit(params={"priority": n % 2}) for n in range(5)}
    await face.call("PUT", "/later", params={"not_before": "1h"}, data=b"x")
    ids.add("later")
    canceled = await face.submit()
    assert (await face.call("POST", f"/{canceled}/cancel")).status == 200
    found: list[str] = []
    after = None
    while True:
        params = {"limit": "2", **({"after": after} if after else {})}
        page = (await face.call("GET", params=params)).json
        found += [job["id"] for job in page["jobs"]]
        after = page["after"]
        if not after:
            break
    assert sorted(found) == sorted(ids | {canceled})
    queued = (await face.call("GET", params={"state": "queued"})).json["jobs"]
    assert {job["id"] for job in queued} == ids
    (one,) = (await face.call("GET", params={"state": "canceled"})).json["jobs"]
    assert one["id"] == canceled


async def test_a_deleted_job_is_forgotten(face: Face, start_worker: StartWorker) -> None:
    waiting = await face.submit()
    assert (await face.call("DELETE", f"/{waiting}")).status == 204
    assert (await face.call("GET", f"/{waiting}")).status == 404
    await start_worker(face.url, face.service)
    job_id = await face.submit()
    assert (await face.call("GET", f"/{job_id}/result", params={"wait": "20s"})).status == 200
    assert (await face.call("DELETE", f"/{job_id}")).status == 204
    assert (await face.call("GET", f"/{job_id}")).status == 404
    assert (await face.call("DELETE", f"/{job_id}")).status == 404


@pytest.mark.parametrize(
    "params",
    [{"priority": "-1"}, {"start_by": "soon"}, {"run_timeout": "0"}, {"colour": "1"}, {"id": "x"}],
)
async def test_a_bad_option_is_a_problem_and_puts_nothing(
    face: Face, params: dict[str, str]
) -> None:
    answer = await face.call("POST", data=b"x", params=params)
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json["code"] == "BAD_PARAMETER"
    assert (await face.call("GET")).json["jobs"] == []


async def test_odd_bytes_are_no_defect(face: Face) -> None:
    writer: asyncio.StreamWriter
    parts = urlsplit(face.base)
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
