"""The lease under which one autoscaler decides about a service."""

from typing import Any

import aiohttp
import pytest

from client_sdk.wire import worker as wire
from client_sdk.wire.load import Load, WorkerState
from tests.conftest import Serve
from tests.promises.peer import Peer
from tests.queue_service.web.scale.api import FIRST, NOBODY, Caller
from tests.waiting import wait_until

DECISION = {"existing": 3, "wanted": 4, "reason": "37 jobs waiting", "history": {"needed": [4]}}


async def test_one_autoscaler_has_the_lease(caller: Caller) -> None:
    status, first = await caller.report(**FIRST, **DECISION)
    assert status == 200
    assert (first["wanted"], first["reason"]) == (4, "37 jobs waiting")
    assert first["history"] == {"needed": [4]}
    assert first["workers"]["starting"] == 3

    status, refused = await caller.report(holder="second", lease_ms=1000, wanted=9, existing=0)
    assert (status, refused["code"], refused["holder"]) == (409, "LEASE_HELD", "first")
    assert 0 < refused["retry_after_ms"] <= 60_000
    status, refused = await caller.call("DELETE", params={"holder": "second"})
    assert (status, refused["code"]) == (409, "LEASE_HELD")

    shown = await caller.figures()
    assert (shown["wanted"], shown["existing"]) == (4, 3)
    assert shown["decided_s_ago"] >= 0
    assert "history" not in shown


async def test_the_next_autoscaler_continues_from_what_the_last_one_left(caller: Caller) -> None:
    await caller.report(**FIRST, **DECISION, driver_error="docker: no space left")
    assert (await caller.figures())["driver_error"] == "docker: no space left"
    assert await caller.call("DELETE", params={"holder": "first"}) == (204, None)
    # Giving back twice changes nothing.
    assert await caller.call("DELETE", params={"holder": "first"}) == (204, None)
    idle = await caller.figures()
    assert (idle["wanted"], idle["driver_error"], idle["reason"]) == (None, None, NOBODY)

    status, second = await caller.report(holder="second", lease_ms=60_000)
    assert (status, second["wanted"], second["history"]) == (200, 4, {"needed": [4]})
    status, second = await caller.report(
        holder="second", lease_ms=60_000, existing=1, wanted=1, reason="nothing waits"
    )
    assert (second["wanted"], second["driver_error"]) == (1, None)


async def test_a_lease_ends_without_anybody_ending_it(caller: Caller) -> None:
    await caller.report(holder="first", lease_ms=100, **DECISION)

    async def is_over() -> bool:
        return bool((await caller.figures())["reason"] == NOBODY)

    await wait_until(is_over, "the lease is over")
    status, second = await caller.report(holder="second", lease_ms=60_000)
    assert (status, second["history"]) == (200, {"needed": [4]})
    status, refused = await caller.report(holder="first", lease_ms=100)
    assert (status, refused["holder"]) == (409, "second")


async def test_what_workers_measured_is_known_while_there_are_none(
    caller: Caller, peer: Peer
) -> None:
    await peer.connect(caller.url)
    await peer.send(wire.Renew(Load(limit=2, load_s=12.0, state=WorkerState.READY)))

    async def is_known() -> bool:
        return bool((await caller.figures())["load_s"] == 12)

    await wait_until(is_known, "the load time is known")
    await caller.report(**FIRST)
    await peer.cut()

    async def is_gone() -> bool:
        return bool((await caller.figures())["workers"]["total"] == 0)

    await wait_until(is_gone, "the worker is gone")
    await caller.report(**FIRST)
    shown = await caller.figures()
    assert (shown["load_s"], shown["window_per_worker"]) == (12, 2)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "holder: expected a value, got nothing"),
        ({"holder": "x"}, "lease_ms: expected a value, got nothing"),
        ({"holder": "", "lease_ms": 1000}, "holder: expected"),
        ({"holder": "a\nb", "lease_ms": 1000}, "holder: expected"),
        ({"holder": "x", "lease_ms": 1}, "lease_ms: expected a value greater than or equal to 100"),
        ({"holder": "x", "lease_ms": "1000"}, "lease_ms: expected a whole number, got '1000'"),
        ({**FIRST, "wanted": -1}, "wanted: expected a value greater than or equal to 0, got -1"),
        ({**FIRST, "existing": 1.5}, "existing: expected a whole number, got 1.5"),
        ({**FIRST, "history": [1]}, "history: expected an object, got [1]"),
        ({**FIRST, "history": {"x": "y" * 65_536}}, "history: expected at most 65536 bytes"),
        ({**FIRST, "want": 1}, "want: expected one of the names holder, lease_ms"),
        ([1], "the body: expected an object of a report, got list"),
    ],
)
async def test_a_bad_report_is_refused_and_takes_no_lease(
    caller: Caller, fields: Any, sentence: str
) -> None:
    status, refused = await caller.call("PUT", json=fields)
    assert (status, refused["code"]) == (400, "BAD_PARAMETER")
    assert refused["message"].startswith(sentence)
    assert (await caller.report(holder="other", lease_ms=1000))[0] == 200


async def test_a_long_sentence_is_cut_and_never_costs_the_lease(caller: Caller) -> None:
    status, _ = await caller.report(**FIRST, existing=0, wanted=1, driver_error="e" * 5000)
    assert status == 200
    assert len((await caller.figures())["driver_error"]) == 1000


async def test_the_admin_token_sees_the_figures_of_a_stopped_service(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    caller = Caller(session, await serve())
    made = {"token": "t" * 20}
    assert (await caller.call("PUT", path="/v1/services/made", json=made))[0] == 201
    path = "/v1/services/made/scale"
    assert (await caller.call("PUT", path=path, json={**FIRST, **DECISION}))[0] == 200
    assert (await caller.call("POST", path="/v1/services/made/stop"))[0] == 200
    assert (await caller.call("GET", path=path))[0] == 200
    assert (await caller.call("GET", path=path, token=made["token"]))[0] == 503
    assert (await caller.call("GET", path=path, token="wrong"))[0] == 401
    # A service of the same name that is made again knows nothing of the old one.
    assert (await caller.call("DELETE", path="/v1/services/made"))[0] == 200
    assert (await caller.call("PUT", path="/v1/services/made", json=made))[0] == 201
    _, figures = await caller.call("GET", path=path)
    assert figures["wanted"] is None
    assert (await caller.call("DELETE", path="/v1/services/made"))[0] == 200
