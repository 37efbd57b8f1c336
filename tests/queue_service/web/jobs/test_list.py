"""The list of jobs: its order, its filters, its pages, and what it shows."""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import quote

import pytest

from client_sdk import AsyncQueueClient, QueueClient
from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import JobsApi
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

HANDLERS = "handler:tests.inference_worker.log_handlers"


async def listed(api: JobsApi, **query: str) -> list[str]:
    """The ids of the whole list, page by page."""
    found: list[str] = []
    after = ""
    while True:
        params = {**query, **({"after": after} if after else {})}
        answer = await api.call("GET", params=params)
        assert answer.status == 200, answer.json
        found += [job["id"] for job in answer.json["jobs"]]
        after = answer.json["after"] or ""
        if not after:
            return found


async def penstock(api: JobsApi, verb: str, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli", "jobs", verb, api.service, *arguments),
        *("--url", api.url, "--token", TOKEN),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def put(api: JobsApi, job_id: str, **params: Any) -> None:
    assert (await api.call("PUT", f"/{job_id}", params=params, data=b"x")).status == 202


@pytest.mark.leaves_entries
@pytest.mark.parametrize("limit", ["1", "2", "1000"])
async def test_the_newest_comes_first_across_pages_and_lanes(api: JobsApi, limit: str) -> None:
    for number in range(6):
        await put(api, f"j{number}", priority=number % 2)
    await put(api, "later", not_before="1h")
    await put(api, "newest")
    expected = ["newest", "later", *(f"j{number}" for number in reversed(range(6)))]
    assert await listed(api, limit=limit) == expected
    assert (await api.call("POST", "/j3/cancel")).status == 200
    expected.remove("j3")
    assert await listed(api, limit=limit) == [*expected, "j3"]
    assert await listed(api, limit=limit, state="queued") == expected
    assert await listed(api, limit=limit, state="canceled") == ["j3"]


async def test_an_id_with_a_comma_is_a_place_to_go_on(api: JobsApi) -> None:
    wish = {"scopes": ["submit", "read", "cancel"], "services": [api.service]}
    headers = {"Authorization": ADMIN_TOKEN}
    async with api.session.post(f"{api.url}/v1/tokens", json=wish, headers=headers) as made:
        own = {"Authorization": (await made.json())["token"]}
    ids = {"a,b", "b,ended:=c", ",", "d"}
    for job_id in ids:
        path = f"/{quote(job_id, safe='')}"
        assert (await api.call("PUT", path, data=b"x", headers=own)).status == 202
        assert (await api.call("POST", f"{path}/cancel", headers=own)).status == 200
    found, after = [], ""
    while after is not None:
        params = {"limit": "1", "after": after}
        answer = await api.call("GET", params=params, headers=own)
        assert answer.status == 200, answer.json
        found += [job["id"] for job in answer.json["jobs"]]
        after = answer.json["after"]
    assert len(found) == len(ids)
    assert set(found) == ids


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
async def test_a_place_before_the_first_is_refused(api: JobsApi, state: str) -> None:
    places = {
        "queued": ["input:0,delayed:", "input:,delayed:0-0", "input:00,delayed:"],
        "running": ["running:0"],
        "succeeded": ["sink:0,ended:", "sink:,ended:1,ended:1"],
    }
    for place in places[state]:
        answer = await api.call("GET", params={"state": state, "after": place})
        assert answer.status == 400, (place, answer.json)


@pytest.mark.leaves_entries
async def test_filters_by_tag_and_time(api: JobsApi) -> None:
    await put(api, "a", tag="user:ann")
    await put(api, "b", tag="user:ben")
    await put(api, "c", tag="user:ann", priority=1)
    assert await listed(api, tag="user:ann") == ["c", "a"]
    assert await listed(api, tag="user:ann", limit="1") == ["c", "a"]
    assert await listed(api, tag="user:carl") == []
    assert await listed(api, since="1h") == ["c", "b", "a"]
    assert await listed(api, until="1h") == []
    created = (await api.call("GET", "/b")).json["created_at"]
    assert "a" not in set(await listed(api, since=created)) - {"a", "b", "c"}
    assert {"b", "c"} <= set(await listed(api, since=created))
    assert {"a", "b"} <= set(await listed(api, until=created))


async def test_a_running_job_comes_first_and_a_failed_one_has_its_message(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service, engine=f"{HANDLERS}:in_turn", worker_threads=1)
    running = await api.submit(data=b"wait")

    async def runs() -> Any:
        jobs = (await api.call("GET", params={"state": "running"})).json["jobs"]
        return jobs and jobs[0]["progress"] and jobs[0]

    job = await wait_until(runs, "it runs and has reported its progress")
    assert job["progress"] == {"fraction": 0.5, "note": "half"}
    queued = await api.submit(data=b"fail")
    assert await listed(api) == [running, queued]
    assert await listed(api, worker=job["worker"]) == [running]
    assert await listed(api, worker="other") == []
    assert await listed(api, worker=job["worker"], state="queued") == []
    code, shown = await penstock(api, "ls", "--state", "running")
    assert code == 0
    assert running in shown
    assert f"50% half, on {job['worker']}" in shown
    code, shown = await penstock(api, "cancel", running)
    assert shown == f"{running}: the job is canceled\n"

    async def failed() -> Any:
        jobs = (await api.call("GET", params={"state": "failed"})).json["jobs"]
        return jobs and jobs[0]

    job = await wait_until(failed, "it has failed")
    assert job["error"]["message"] == "as wanted"
    assert job["id"] == queued
    code, shown = await penstock(api, "ls", "--since", "1h", "--limit", "1")
    assert "BadInput: as wanted" in shown
    code, shown = await penstock(api, "ls", "--json")
    assert [json.loads(line)["id"] for line in shown.splitlines()] == [queued, running]
    code, shown = await penstock(api, "show", queued)
    assert "as wanted" in shown
    assert (await penstock(api, "show", "none"))[0] == 1
    assert (await api.call("DELETE", f"/{queued}")).status == 204


@pytest.mark.leaves_entries
async def test_the_clients_read_all_pages(api: JobsApi) -> None:
    for number in range(120):
        await put(api, f"j{number}")
    expected = [f"j{number}" for number in reversed(range(120))]
    async with AsyncQueueClient(api.url, api.service, token=TOKEN) as client:
        assert [job.id async for job in client.jobs.list()] == expected
        assert [job.id async for job in client.jobs.list(limit=7)] == expected[:7]

    def blocking() -> list[str]:
        with QueueClient(api.url, api.service, token=TOKEN) as client:
            return [job.id for job in client.jobs.list(state="queued", limit=101)]

    assert await asyncio.to_thread(blocking) == expected[:101]


@pytest.mark.parametrize(
    "query",
    [
        {"state": "no"},
        {"tag": "no"},
        {"tag": "_ticket_:e"},
        {"since": "no"},
        {"until": "-1s"},
        {"after": "no"},
        {"after": "running:,input:,delayed:,sink:"},
        {"after": "running:x,input:,delayed:,sink:,ended:"},
        {"after": "running:,input:,delayed:5,sink:,ended:"},
        {"after": "running:,input:,delayed:,sink:,ended:=x"},
        {"limit": "0"},
    ],
)
async def test_a_wrong_parameter_is_refused(api: JobsApi, query: dict[str, str]) -> None:
    assert (await api.call("GET", params=query)).status == 400
