"""Calls that nobody in their right mind makes: each has an answer, and costs others nothing."""

import asyncio
import io
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from client_sdk.wire.codes import Code
from tests.conftest import Serve
from tests.queue_service.web.jobs.api import JobsApi
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

NDJSON = {"Content-Type": "application/x-ndjson"}
TOO_BIG = "9" * 40


@pytest.mark.parametrize(
    "after",
    [
        f"input:{TOO_BIG}",
        f"sink:{2**64}",
        f"ended:{TOO_BIG}",
        "delayed:-5",
        "delayed:5-",
        "delayed:5",
        "delayed:1-2-3",
        f"delayed:1-{TOO_BIG}",
        "input:1-1",
        "input:",
    ],
)
async def test_a_page_goes_on_only_where_one_has_ended(api: JobsApi, after: str) -> None:
    answer = await api.call("GET", params={"after": after})
    assert (answer.status, answer.json["code"]) == (400, Code.BAD_PARAMETER)


async def test_a_page_of_delayed_jobs_goes_on(api: JobsApi) -> None:
    ids = {await api.submit(params={"not_before": "1h"}) for _ in range(3)}
    page = (await api.call("GET", params={"limit": "2", "state": "queued"})).json
    rest = (await api.call("GET", params={"after": page["after"], "state": "queued"})).json
    assert {job["id"] for job in page["jobs"] + rest["jobs"]} == ids
    for job_id in ids:
        assert (await api.call("DELETE", f"/{job_id}")).status == 204


async def test_an_id_that_is_no_part_of_a_path_is_refused(api: JobsApi) -> None:
    lines = "\n".join(json.dumps({"input": 1, "id": name}) for name in (".", ".."))
    answer = await api.call("POST", data=lines, headers=NDJSON)
    statuses = [json.loads(line)["status"] for line in answer.body.splitlines()]
    assert statuses == [400, 400]


async def test_any_printable_id_can_be_looked_at(api: JobsApi) -> None:
    job_id = "{a/b}%2F?#"
    line = json.dumps({"input": 1, "id": job_id})
    outcome = json.loads((await api.call("POST", data=line, headers=NDJSON)).body)
    assert outcome["status"] == 202
    at = URL(api.url + outcome["location"], encoded=True)
    async with api.session.get(at) as answer:
        assert (await answer.json())["id"] == job_id
    async with api.session.delete(at) as answer:
        assert answer.status == 204


async def test_a_body_that_is_not_encoded_as_its_head_says_is_refused(api: JobsApi) -> None:
    # By hand, as the client library would encode it.
    host, port = URL(api.url).host, URL(api.url).port
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST {URL(api.base).path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n"
    head += "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"
    writer.write(head.encode() + b"plain")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"encoded as the head says" in answer


async def test_a_line_beyond_every_input_is_refused_unread_and_the_others_are_put(
    api: JobsApi,
) -> None:
    payload_limit = (await _limit(api)) * 2
    endless = b'{"input":[' + b"[]," * (payload_limit // 3 + 65_536) + b"[]]}"
    body = b'{"input":1}\n' + endless + b'\n{"input":2}\n'
    answer = await api.call("POST", data=io.BytesIO(body), headers=NDJSON)
    outcomes = [json.loads(line) for line in answer.body.splitlines()]
    assert [outcome["status"] for outcome in outcomes] == [202, 413, 202]
    assert outcomes[1]["problem"]["size_bytes"] == len(endless)
    for outcome in (outcomes[0], outcomes[2]):
        assert (await api.call("DELETE", f"/{outcome['id']}")).status == 204


async def test_a_body_of_nothing_but_line_breaks_is_refused(api: JobsApi) -> None:
    answer = await api.call("POST", data=io.BytesIO(b"\n" * 2_000_000), headers=NDJSON)
    assert (answer.status, answer.json["code"]) == (400, Code.BAD_PARAMETER)
    assert "lines or more" in answer.json["detail"]


async def _limit(api: JobsApi) -> int:
    address = f"{api.url}/v1/services/{api.service}"
    headers = {"Authorization": ADMIN_TOKEN}
    async with api.session.get(address, headers=headers) as answer:
        limit: int = (await answer.json())["input"]["max_payload_bytes"]
        return limit


@pytest.fixture
async def small(serve: Serve) -> AsyncIterator[JobsApi]:
    """A service whose sink takes three results."""
    url = await serve({"name": "svc", "sink": {"max_length": 3}})
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        yield JobsApi(session, url)


@pytest.mark.parametrize("option", ["start_by", "finish_by"])
@pytest.mark.leaves_entries
async def test_jobs_that_expire_fill_no_sink_beyond_its_limit(small: JobsApi, option: str) -> None:
    ids = [await small.submit(params={option: "1s"}) for _ in range(5)]

    async def all_expired() -> bool:
        return [await small.state(job_id) for job_id in ids] == ["expired"] * 5

    await wait_until(all_expired, "all have expired")
    async with small.session.get(f"{small.eas}/sink", params={"_count_": "true"}) as answer:
        assert await answer.text() == "3"
    statuses = [(await small.call("GET", f"/{job_id}/result")).status for job_id in ids]
    assert statuses == [409] * 5, "each is told, with an answer in the sink or without"


async def test_a_client_that_waits_for_a_result_learns_at_once_that_the_service_was_deleted(
    serve: Serve,
) -> None:
    url = await serve({"name": "fixed"})
    operator = {"Authorization": ADMIN_TOKEN}
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        api = JobsApi(session, url, "new")
        address = f"{url}/v1/services/new"
        async with session.put(address, json={"token": TOKEN}, headers=operator) as answer:
            assert answer.status == 201
        job_id = await api.submit()
        asked = {"model": "new", "messages": [{"role": "user", "content": "x"}]}
        waiting = asyncio.create_task(api.call("GET", f"/{job_id}/result?wait=60s"))
        chatting = asyncio.create_task(_post(session, f"{url}/v1/chat/completions", asked))

        async def both_wait() -> bool:
            async with session.get(api.eas, params={"_count_": "true"}) as answer:
                return await answer.text() == "2"

        await wait_until(both_wait, "both requests are in line")
        async with session.delete(address, headers=operator) as answer:
            assert answer.status == 200
        assert (await asyncio.wait_for(waiting, 30)).status == 404
        assert await asyncio.wait_for(chatting, 30) == 410


async def _post(session: aiohttp.ClientSession, address: str, body: object) -> int:
    async with session.post(address, json=body) as answer:
        return answer.status
