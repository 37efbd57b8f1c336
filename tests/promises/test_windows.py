"""Time windows of services and tokens: what waits, what goes on, and what jobs say of it."""

import time
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import names
from queue_service.service import opening
from tests.conftest import Serve
from tests.promises.conftest import Client, Peers
from tests.promises.peer import Peer
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until
from tests.windows import closed_now

NIGHT = "22:00-06:00 Europe/Berlin"


class Clock:
    """The clock of a process: it shows what the test sets, and goes on."""

    def __init__(self) -> None:
        self._offset_ms = 0

    def __call__(self) -> int:
        return int(time.time() * 1000) + self._offset_ms

    def show(self, text: str) -> None:
        wanted = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000
        self._offset_ms = int(wanted - time.time() * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(opening, "now_ms", clock)
    return clock


async def _admin(
    session: aiohttp.ClientSession, url: str, method: str, path: str, body: object = None
) -> Any:
    headers = {"Authorization": ADMIN_TOKEN}
    async with session.request(method, f"{url}{path}", json=body, headers=headers) as answer:
        if answer.status == 204:
            return None
        return await answer.json() if answer.status < 300 else (answer.status, await answer.text())


async def _submit(session: aiohttp.ClientSession, url: str, token: str = TOKEN) -> str:
    headers = {"Authorization": token}
    jobs = f"{url}/v1/services/svc/jobs"
    async with session.post(jobs, data=b"x", headers=headers) as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["id"])


async def _job(session: aiohttp.ClientSession, url: str, job: str, token: str = TOKEN) -> Any:
    headers = {"Authorization": token}
    async with session.get(f"{url}/v1/services/svc/jobs/{job}", headers=headers) as answer:
        return await answer.json()


async def _token(session: aiohttp.ClientSession, url: str, windows: str, owner: str = "") -> str:
    wish = {"scopes": ["submit", "read"], "windows": windows, "owner": owner}
    made = await _admin(session, url, "POST", "/v1/tokens", wish)
    assert made["windows"] == windows, made
    return str(made["token"])


async def _end(worker: Peer) -> None:
    await wait_until(lambda: worker.held, "a job runs")
    await worker.complete(*worker.held)


async def _is_open(session: aiohttp.ClientSession, url: str) -> bool:
    return bool((await _admin(session, url, "GET", "/v1/services/svc"))["window"]["open"])


async def test_jobs_wait_for_the_window_and_those_that_run_go_on(
    serve: Serve, clock: Clock, session: aiohttp.ClientSession, client: Client, peers: Peers
) -> None:
    clock.show("2026-11-25T20:59:57")  # three seconds before 22:00 in Berlin
    client.url = url = await serve({"name": "svc", "windows": NIGHT})
    worker = peers.make(1)
    await worker.connect(url)
    first, _ = await client.put(b"first")
    assert not await client.search_is_pending(first)
    await wait_until(lambda: worker.held, "the window has opened")

    clock.show("2026-11-26T04:59:59")  # a second before it closes
    # Whatever changes the tokens makes the process look at its clock.
    await _token(session, url, NIGHT)

    async def is_closed() -> bool:
        return not await _is_open(session, url)

    await wait_until(is_closed, "the window has closed")
    second, _ = await client.put(b"second")
    await worker.complete(*worker.held)
    await wait_until(lambda: client.has_length(1, "/sink"), "what ran is answered")
    assert not await client.search_is_pending(second)
    assert [delivery.index for delivery in worker.handed] == [first]
    # A worker that reads without a subscription gets nothing either.
    assert await client.read(queue="") == []
    await client.truncate()
    await client.truncate("/sink")


async def test_a_job_says_when_it_may_start_and_changed_windows_hold_for_what_waits(
    serve: Serve, session: aiohttp.ClientSession, client: Client, peers: Peers
) -> None:
    client.url = url = await serve({"name": "fixed"})
    path = "/v1/services/svc"
    await _admin(session, url, "PUT", path, {"token": TOKEN})
    worker = peers.make(1)
    await worker.connect(url)
    await _submit(session, url)
    await _end(worker)
    shut = await _admin(session, url, "PUT", path, {"token": TOKEN, "windows": closed_now()})
    assert shut["window"]["open"] is False
    job_id = await _submit(session, url)

    async def estimated() -> Any:
        return (await _job(session, url, job_id))["estimate"]

    await wait_until(estimated, "run times are known")
    job = await _job(session, url, job_id)
    opens_at = datetime.fromtimestamp(shut["window"]["changes_at_ms"] / 1000, UTC)
    assert job["waiting_for"] == "window"
    assert job["waiting_until"] == opens_at.isoformat(timespec="milliseconds").replace(
        "+00:00", "Z"
    )
    assert job["estimate"]["start"]["p50_s"] > 3600
    assert worker.held == {}

    await _admin(session, url, "PUT", path, {"token": TOKEN, "windows": ""})
    await _end(worker)
    await wait_until(lambda: client.has_length(2, "/sink"), "both are answered")
    await peers[0].cut()
    await _admin(session, url, "DELETE", path)


async def test_the_jobs_of_a_token_wait_for_its_window_and_those_of_others_do_not(
    serve: Serve, session: aiohttp.ClientSession, client: Client, peers: Peers
) -> None:
    client.url = url = await serve()
    bulk = await _token(session, url, closed_now(), owner="team")
    quick = await _token(session, url, "", owner="team")
    waiting = [await _submit(session, url, bulk) for _ in range(3)]
    address = f"{url}{names.EAS_PREFIX}/svc"
    async with session.post(address, data=b"e", headers={"Authorization": bulk}) as answer:
        assert answer.status == 200
    jobs = [await _submit(session, url, quick), await _submit(session, url)]
    worker = peers.make(10)
    await worker.connect(url)
    await wait_until(lambda: len(worker.held) == 2, "the jobs of the others run")
    assert {delivery.request_id for delivery in worker.held.values()} == set(jobs)
    await worker.complete(*worker.held)
    await wait_until(lambda: client.has_length(2, "/sink"), "they are answered")
    # The owner's other token sees what waits, and for what.
    job = await _job(session, url, waiting[0], quick)
    assert (job["state"], job["waiting_for"]) == ("queued", "window")
    assert await client.read(3, queue="") == []
    later = await _submit(session, url, quick)
    job = await _job(session, url, later, quick)
    assert job["waiting_for"] is None
    await wait_until(lambda: worker.held, "a later job of the same owner runs")
    await worker.complete(*worker.held)
    assert len(worker.handed) == 3

    # Without the token there is no window.
    (token,) = (
        one for one in (await _admin(session, url, "GET", "/v1/tokens"))["tokens"] if one["windows"]
    )
    await _admin(session, url, "DELETE", f"/v1/tokens/{token['id']}")
    await wait_until(lambda: len(worker.held) == 4, "what waited runs")
    await worker.complete(*worker.held)
    await wait_until(lambda: client.has_length(7, "/sink"), "all are answered")
    await client.truncate("/sink")


async def test_what_is_no_window_is_refused(serve: Serve, session: aiohttp.ClientSession) -> None:
    url = await serve({"name": "fixed"})
    for method, path, body in (
        ("PUT", "/v1/services/new", {"windows": "at night"}),
        ("PUT", "/v1/services/new", {"windows": ["22:00-06:00"]}),
        ("POST", "/v1/tokens", {"scopes": ["submit"], "windows": "22:00-06:00 Europe/Nowhere"}),
    ):
        status, text = await _admin(session, url, method, path, body)
        assert (status, "windows" in text, "expected" in text) == (400, True, True), text
    assert (await _admin(session, url, "GET", "/v1/services/new"))[0] == 404
