"""Results that nobody reads fill the sink: jobs wait, and every place says why."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire import worker as wire
from tests.conftest import Serve
from tests.promises.peer import Peer
from tests.queue_service.web.jobs.api import Answer, JobsApi
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

CAPACITY = 5
#: Why nothing goes on, for the service's own token.
WHY = re.compile(r"the sink holds 5 unread results; the next one expires in (1 h|60 min)")
#: The logger of what is said once.
LOGGER = "queue_service.service.sink_watch"

pytestmark = pytest.mark.leaves_entries


_answers: set[asyncio.Task[None]] = set()


def done(peer: Peer, delivery: wire.Delivery, tags: Mapping[str, str] | None = None) -> None:
    """Answer at once."""

    async def answer() -> None:
        result = wire.Result(b"done" if tags is None else b"no", tags or {})
        peer.held.pop(delivery.index)
        completion = wire.Completion(delivery.index, delivery.attempt, result)
        await peer.send(wire.Completions((completion,)))

    task = asyncio.create_task(answer())
    _answers.add(task)
    task.add_done_callback(_answers.discard)


class Stuck:
    """A service whose sink takes five results, with a worker that answers at once."""

    def __init__(self, api: JobsApi, session: aiohttp.ClientSession) -> None:
        self.api = api
        self.session = session
        self.peer = Peer(session, window=2)
        self.url = api.url

    async def ask(
        self, method: str, path: str, *, token: str = TOKEN, **more: Any
    ) -> tuple[Answer, str]:
        headers = {"Authorization": token, **more.pop("headers", {})}
        async with self.session.request(method, self.url + path, headers=headers, **more) as answer:
            lower = {name.lower(): value for name, value in answer.headers.items()}
            found = Answer(answer.status, lower, await answer.read())
            return found, found.body.decode()

    async def admin(self) -> dict[str, Any]:
        answer, _ = await self.ask("GET", "/v1/services/svc", token=ADMIN_TOKEN)
        found: dict[str, Any] = answer.json
        return found

    async def has_ended(self, job_id: str) -> bool:
        return bool(await self.api.state(job_id) == "succeeded")

    async def run(self, count: int) -> list[str]:
        """Run jobs to their end; return their ids."""
        ids = [await self.api.submit() for _ in range(count)]
        for job_id in ids:

            async def ended(job_id: str = job_id) -> bool:
                return await self.has_ended(job_id)

            await wait_until(ended, f"{job_id} has ended")
        return ids

    async def waits_for_room(self, job_id: str) -> bool:
        return bool((await self.api.job(job_id))["waiting_for"] == "sink")

    async def fill(self) -> str:
        """Fill the sink; return the id of a job that waits for room in it."""
        await self.run(CAPACITY)
        waiting = await self.api.submit()
        await wait_until(lambda: self.waits_for_room(waiting), "the job waits for room")
        return waiting


@pytest.fixture
async def stuck(serve: Serve, session: aiohttp.ClientSession) -> AsyncIterator[Stuck]:
    limits = {"max_length": CAPACITY}
    url = await serve(
        {"name": "svc", "input": limits, "sink": limits}, result_retention_ms=3_600_000
    )
    stuck = Stuck(JobsApi(session, url), session)
    stuck.peer.on_delivery = done
    await stuck.peer.connect(url)
    yield stuck
    await stuck.peer.vanish()


async def in_services(stuck: Stuck, waiting: str) -> None:
    found = await stuck.admin()
    assert (found["state"], found["sink"]["full"]) == ("running", True)
    assert WHY.search(found["sink"]["full_because"])
    assert found["sink"]["full_since_ms"] > 0
    listed, text = await stuck.ask("GET", "/v1/services", token=ADMIN_TOKEN)
    assert "unread results" in text
    assert listed.json["services"][0]["sink"]["full"] is True
    # Both limits: entries and bytes.
    for role, length in (("input", 1), ("sink", CAPACITY)):
        queue = found[role]
        assert (queue["length"], queue["capacity"]) == (length, CAPACITY)
        assert 0 < queue["bytes"] < queue["max_bytes"]


async def in_the_figures_of_autoscaling(stuck: Stuck, waiting: str) -> None:
    answer, _ = await stuck.ask("GET", "/v1/services/svc/scale")
    assert (answer.json["sink_full"], answer.json["deliverable"]) == (True, 0)


async def in_the_metrics(stuck: Stuck, waiting: str) -> None:
    _, text = await stuck.ask("GET", "/metrics", token=ADMIN_TOKEN)
    assert 'penstock_queue_full{queue="sink",service="svc"} 1.0' in text
    assert 'penstock_queue_full{queue="input",service="svc"} 0.0' in text
    assert 'penstock_queue_fillings_total{queue="sink",service="svc"} 1.0' in text


async def in_the_waiting_job(stuck: Stuck, waiting: str) -> None:
    job = await stuck.api.job(waiting)
    assert (job["state"], job["waiting_for"], job["estimate"]) == ("queued", "sink", None)
    assert WHY.search(job["waiting_because"])
    assert job["waiting_until"] > job["created_at"]
    result = await stuck.api.call("GET", f"/{waiting}/result")
    assert (result.status, result.json["waiting_for"]) == (202, "sink")


async def _with_a_full_input(stuck: Stuck) -> None:
    for _ in range(CAPACITY - 1):
        await stuck.api.submit()


async def in_the_503_of_a_put(stuck: Stuck, waiting: str) -> None:
    await _with_a_full_input(stuck)
    answer = await stuck.api.call("POST", data=b"x")
    assert (answer.status, answer.json["code"]) == (503, "QUEUE_FULL")
    assert WHY.search(answer.json["detail"])
    assert "read results or delete" in answer.json["detail"]
    assert answer.json["unread_results"]["count"] == CAPACITY
    assert 3000 < answer.json["unread_results"]["next_expires_in_s"] <= 3600
    assert answer.headers["retry-after"] == "60"
    lines, text = await stuck.ask(
        "POST",
        "/v1/services/svc/jobs",
        data=b'{"input": "x"}\n',
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert lines.status == 200
    assert '"status": 503' in text
    assert WHY.search(text)


async def in_the_429_of_eas(stuck: Stuck, waiting: str) -> None:
    await _with_a_full_input(stuck)
    for queue in ("", "/sink"):
        answer, text = await stuck.ask("POST", f"/api/predict/svc{queue}", data=b"x")
        assert (answer.status, answer.headers[names.ERROR_CODE_HEADER.lower()]) == (
            429,
            "QUEUE_FULL",
        )
        assert WHY.search(text), text
        assert "retry-after" not in answer.headers


async def in_the_429_of_openai(stuck: Stuck, waiting: str) -> None:
    await _with_a_full_input(stuck)
    body = {"model": "svc", "messages": [{"role": "user", "content": "x"}]}
    answer, text = await stuck.ask("POST", "/v1/chat/completions", json=body)
    assert answer.status == 429
    assert WHY.search(answer.json["error"]["message"]), text
    assert answer.headers["retry-after"] == "60"


@pytest.mark.parametrize(
    "place",
    [
        in_services,
        in_the_figures_of_autoscaling,
        in_the_metrics,
        in_the_waiting_job,
        in_the_503_of_a_put,
        in_the_429_of_eas,
        in_the_429_of_openai,
    ],
)
async def test_a_full_sink_is_visible(
    stuck: Stuck, place: Callable[[Stuck, str], Awaitable[None]]
) -> None:
    await place(stuck, await stuck.fill())


async def test_a_full_sink_is_logged_once_and_so_is_its_end(
    stuck: Stuck, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        await stuck.fill()
        for _ in range(CAPACITY - 1):
            await stuck.api.submit()
        for _ in range(3):
            assert (await stuck.api.call("POST", data=b"x")).status == 503

        def logged() -> bool:
            return any(WHY.search(text) for text in caplog.messages)

        await wait_until(logged, "the log says it")
    assert len([text for text in caplog.messages if "sink" in text]) == 1, caplog.messages


async def test_reading_results_lets_the_waiting_jobs_run(stuck: Stuck) -> None:
    waiting = await stuck.fill()
    first = (await stuck.api.call("GET", "?state=succeeded&limit=1")).json["jobs"][0]["id"]
    assert (await stuck.api.call("GET", f"/{first}/result")).body == b"done"
    await wait_until(lambda: stuck.has_ended(waiting), "the job has room for its result")
    gone = await stuck.api.call("GET", f"/{first}/result")
    assert (gone.status, gone.json["code"]) == (410, "GONE")
    assert "was read at" in gone.json["detail"]
    assert "to make room" in gone.json["detail"]
    assert gone.json["read_at"] <= gone.json["gone_at"]
    assert (await stuck.api.job(first))["state"] == "succeeded"
    assert (await stuck.admin())["sink"]["read_dropped"] == 1


async def _is_read(stuck: Stuck, job_id: str) -> bool:
    return (await stuck.api.job(job_id))["result_read_at"] is not None


async def test_what_counts_as_read(stuck: Stuck) -> None:
    result, head, part, listed, waited = await stuck.run(5)
    await stuck.api.call("GET", f"/{result}/result")
    await stuck.api.call("HEAD", f"/{head}/result")
    await stuck.api.call("GET", f"/{part}/events")
    await stuck.api.call("GET", f"/{listed}")
    await stuck.ask("GET", f"/api/predict/svc/sink?requestId={listed}&_auto_delete_=false")
    await wait_until(lambda: _is_read(stuck, result), "a result was read")
    answer = await stuck.api.call("GET", f"/{waited}/result?wait=5s")
    assert answer.body == b"done"
    await wait_until(lambda: _is_read(stuck, waited), "a wait has read its result")
    has_any = await stuck.api.call("GET", f"/{head}/result", headers={"If-None-Match": "*"})
    assert has_any.status == 304
    for job_id in (head, part, listed):
        assert not await _is_read(stuck, job_id)
    # Its tag says that the client has it.
    tag = (await stuck.api.call("HEAD", f"/{head}/result")).headers["etag"]
    has_it = await stuck.api.call("GET", f"/{head}/result", headers={"If-None-Match": tag})
    assert has_it.status == 304
    await wait_until(lambda: _is_read(stuck, head), "the client says that it has it")
    # A put that waits returns the result.
    answer = await stuck.api.call("POST", "?wait=20s", data=b"x")
    assert answer.body == b"done"
    put = answer.headers[names.REQUEST_ID_HEADER.lower()]
    await wait_until(lambda: _is_read(stuck, put), "the put has read its result")


async def test_the_error_of_a_failed_job_is_its_result(stuck: Stuck) -> None:
    stuck.peer.on_delivery = partial(done, tags={names.ERROR_CODE_TAG: "Bad"})
    for path in ("", "/result"):
        job_id = await stuck.api.submit()

        async def has_failed(job_id: str = job_id) -> bool:
            listed = (await stuck.api.call("GET", "?state=failed")).json["jobs"]
            return job_id in [job["id"] for job in listed]

        await wait_until(has_failed, "the job has failed")
        answer = await stuck.api.call("GET", f"/{job_id}{path}")
        assert answer.status == (409 if path else 200)
        assert b"no" in answer.body

        async def is_read(job_id: str = job_id) -> bool:
            listed = (await stuck.api.call("GET", "?state=failed")).json["jobs"]
            (job,) = (job for job in listed if job["id"] == job_id)
            return job["result_read_at"] is not None

        await wait_until(is_read, "its error was read")


async def test_an_owner_with_its_share_learns_of_its_own_results_alone(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    url = await serve({"name": "svc", "sink": {"max_length": 10}}, result_retention_ms=3_600_000)
    tokens = {}
    for owner in ("greedy", "other"):
        async with session.post(
            f"{url}/v1/tokens",
            json={"name": owner, "owner": owner, "scopes": ["submit", "read"]},
            headers={"Authorization": ADMIN_TOKEN},
        ) as answer:
            tokens[owner] = (await answer.json())["token"]
    headers = {owner: {"Authorization": token} for owner, token in tokens.items()}
    api = JobsApi(session, url)
    ids = [await api.submit(headers=headers["greedy"]) for _ in range(12)]
    peer = Peer(session, window=1, on_delivery=done)
    await peer.connect(url)

    async def last() -> Any:
        return (await api.call("GET", f"/{ids[-1]}", headers=headers["greedy"])).json

    async def waits() -> bool:
        return bool((await last())["waiting_for"] == "sink")

    await wait_until(waits, "the owner has its share")
    because = (await last())["waiting_because"]
    assert re.search("holds 8 unread results of yours, which is your share of it", because)
    refused = await api.call("POST", data=b"x", headers=headers["greedy"])
    assert (refused.status, refused.json["quota"]) == (429, "sink_share")
    assert refused.json["unread_results"]["count"] == 8
    # Others are not affected, and learn nothing.
    other = await api.submit(headers=headers["other"])

    async def other_ended() -> bool:
        job = (await api.call("GET", f"/{other}", headers=headers["other"])).json
        return bool(job["state"] == "succeeded")

    await wait_until(other_ended, "the job of another owner runs")
    await api.call("GET", f"/{ids[0]}/result", headers=headers["greedy"])

    async def goes_on() -> bool:
        return len([one for one in peer.handed if one.request_id in ids]) == 9

    await wait_until(goes_on, "what was read made room")
    await peer.vanish()


async def test_results_read_by_others_than_their_owner_stay_unread(
    stuck: Stuck, session: aiohttp.ClientSession
) -> None:
    async with session.post(
        f"{stuck.url}/v1/tokens",
        json={"name": "a", "owner": "a", "scopes": ["submit", "read"]},
        headers={"Authorization": ADMIN_TOKEN},
    ) as answer:
        told = {"Authorization": (await answer.json())["token"]}
    job_id = await stuck.api.submit(headers=told)

    async def ended() -> bool:
        return bool(
            (await stuck.api.call("GET", f"/{job_id}?owner=a")).json["state"] == "succeeded"
        )

    await wait_until(ended, "the job has ended")
    # The service's own token sees it.
    for query in ("", "?owner=a"):
        assert (await stuck.api.call("GET", f"/{job_id}/result{query}")).body == b"done"
    (mine,) = await stuck.run(1)
    await stuck.api.call("GET", f"/{mine}/result")
    await wait_until(lambda: _is_read(stuck, mine), "one's own result was read")
    assert (await stuck.api.call("GET", f"/{job_id}", headers=told)).json["result_read_at"] is None


async def test_many_reads_at_once_are_noted(stuck: Stuck) -> None:
    ids = await stuck.run(4)
    await asyncio.gather(*(stuck.api.call("GET", f"/{one}/result") for one in ids * 3))
    for job_id in ids:
        await wait_until(lambda one=job_id: _is_read(stuck, one), "it was read")  # type: ignore[misc]
