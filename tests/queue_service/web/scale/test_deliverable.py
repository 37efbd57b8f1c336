"""Waiting jobs that no worker would get now do not count, for the autoscaler and for KEDA."""

import aiohttp
import pytest

from client_sdk.wire import names
from queue_service.service.access import now_ms
from tests.conftest import Serve
from tests.promises.peer import Peer
from tests.queue_service.web.scale.api import Caller
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until
from tests.windows import closed_now

#: When the window of `closed_now` is open: it lasts from the third to the fourth full hour.
OPENS_IN_MS = 3 * 3_600_000
#: The clock by which windows open and close.
CLOCK = "queue_service.service.opening.now_ms"

pytestmark = pytest.mark.leaves_entries


async def seen(caller: Caller) -> tuple[int, int, bool]:
    figures = await caller.figures()
    return figures["waiting"], figures["deliverable"], figures["paused"]


async def submit_as(caller: Caller, token: str) -> None:
    status, job = await caller.call(
        "POST", path="/v1/services/svc/jobs", token=token, data=b"closed"
    )
    assert status == 202, job


async def closed_token(caller: Caller) -> str:
    """Make a token whose jobs wait for its time window."""
    wish = {"scopes": ["submit"], "windows": closed_now()}
    status, made = await caller.call("POST", path="/v1/tokens", json=wish)
    assert status == 201, made
    return str(made["token"])


async def test_a_paused_service_delivers_none(caller: Caller) -> None:
    await caller.submit()
    await caller.submit()
    assert await seen(caller) == (2, 2, False)
    assert (await caller.call("POST", path="/v1/services/svc/pause"))[0] == 200
    assert await seen(caller) == (2, 0, True)
    assert (await caller.call("POST", path="/v1/services/svc/resume"))[0] == 200
    assert await seen(caller) == (2, 2, False)


async def test_a_service_outside_its_windows_delivers_none(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    caller = Caller(session, await serve({"name": "svc", "windows": closed_now()}))
    await caller.submit()
    assert await seen(caller) == (1, 0, True)


async def test_jobs_of_a_token_outside_its_windows_do_not_count(caller: Caller, peer: Peer) -> None:
    token = await closed_token(caller)
    for _ in range(3):
        await submit_as(caller, token)
    assert await seen(caller) == (3, 0, False)
    await caller.submit()
    assert await seen(caller) == (4, 1, False)
    # What it counts is what a worker gets.
    await peer.connect(caller.url)
    await wait_until(lambda: len(peer.held) == 1, "the worker has the one job")
    assert await seen(caller) == (3, 0, False)
    await peer.complete(*peer.held)


async def test_another_attempt_of_a_token_that_has_closed_does_not_count(
    serve: Serve,
    session: aiohttp.ClientSession,
    peer: Peer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The windows are read by a clock that shows a time in them.
    monkeypatch.setattr(CLOCK, lambda: now_ms() + OPENS_IN_MS)
    caller = Caller(session, await serve(lease_ms=900))
    token = await closed_token(caller)
    await submit_as(caller, token)
    await submit_as(caller, token)
    await peer.connect(caller.url)
    await wait_until(lambda: len(peer.held) == 2, "the worker has both jobs")
    monkeypatch.setattr(CLOCK, now_ms)
    # Another token makes the process look at its clock.
    await closed_token(caller)
    await peer.reject(min(peer.held))
    await peer.vanish()

    async def are_back() -> bool:
        return await seen(caller) == (2, 0, False)

    await wait_until(are_back, "both jobs wait for another attempt and the window")
    await caller.submit()
    assert await seen(caller) == (3, 1, False)


async def test_of_a_token_no_more_count_than_it_may_start(
    serve: Serve, session: aiohttp.ClientSession, peer: Peer
) -> None:
    caller = Caller(session, await serve(lease_ms=900))
    wish = {"scopes": ["submit"], "owner": "somebody", "limits": {"running": 2}}
    _, made = await caller.call("POST", path="/v1/tokens", json=wish)
    for _ in range(5):
        await submit_as(caller, made["token"])
    assert await seen(caller) == (5, 2, False)
    peer.window = 3
    await peer.connect(caller.url)
    await wait_until(lambda: len(peer.held) == 2, "the worker has as many as the token may start")
    assert await seen(caller) == (3, 0, False)
    await caller.submit()
    await wait_until(lambda: len(peer.held) == 3, "the worker has the job of the service's token")
    assert await seen(caller) == (3, 0, False)
    await peer.vanish()

    async def are_back() -> bool:
        return await seen(caller) == (6, 3, False)

    await wait_until(are_back, "three jobs wait for another attempt, two of them with the limit")
    # Another token of the same owner has no limit, so nobody can tell which jobs are limited.
    _, free = await caller.call("POST", path="/v1/tokens", json={**wish, "limits": {}})
    await submit_as(caller, free["token"])
    assert await seen(caller) == (7, 7, False)


async def test_of_an_owner_no_more_count_than_its_share_of_the_sink(
    serve: Serve, session: aiohttp.ClientSession, peer: Peer
) -> None:
    caller = Caller(session, await serve({"name": "svc", "sink": {"max_length": 10}}))
    _, made = await caller.call("POST", path="/v1/tokens", json={"scopes": ["submit"]})
    for _ in range(11):
        await submit_as(caller, made["token"])
    peer.window = 11
    await peer.connect(caller.url)
    await wait_until(lambda: len(peer.held) == 8, "the worker has four fifths of the sink")
    await peer.complete(*peer.held)
    await wait_until(lambda: len(peer.outcomes) == 8, "the results are stored")
    # There is room for two more results, but not for those of this owner.
    assert await seen(caller) == (3, 0, False)
    assert len(peer.handed) == 8
    await caller.submit()
    await wait_until(lambda: len(peer.handed) == 9, "another owner's job runs")
    await peer.complete(*peer.held)


async def test_no_more_count_than_the_sink_has_room_for(
    serve: Serve, session: aiohttp.ClientSession, peer: Peer
) -> None:
    service = {"name": "svc", "sink": {"max_length": 2}}
    caller = Caller(session, await serve(service))
    for _ in range(5):
        await caller.submit()
    assert await seen(caller) == (5, 2, False)
    await peer.connect(caller.url)
    await wait_until(lambda: len(peer.held) == 2, "the worker has two jobs")
    assert await seen(caller) == (3, 0, False)
    await peer.complete(*peer.held)
    await wait_until(lambda: len(peer.outcomes) == 2, "the results are stored")
    assert await seen(caller) == (3, 0, False)
    every = {names.TRUNCATE: "true", names.INDEX: str(2**62)}
    address = f"{caller.url}{names.EAS_PREFIX}/svc/sink"
    async with session.delete(address, params=every, headers={"Authorization": TOKEN}) as answer:
        assert answer.status == 200
    await wait_until(lambda: len(peer.handed) == 4, "there is room again")
    await peer.complete(*peer.held)


async def test_the_gauge_shows_it(caller: Caller) -> None:
    await submit_as(caller, await closed_token(caller))
    await caller.submit()
    headers = {"Authorization": ADMIN_TOKEN}
    async with caller.session.get(f"{caller.url}/metrics", headers=headers) as answer:
        lines = (await answer.text()).splitlines()
    assert 'penstock_scale_deliverable{service="svc"} 1.0' in lines
    assert 'penstock_scale_waiting{service="svc"} 2.0' in lines
