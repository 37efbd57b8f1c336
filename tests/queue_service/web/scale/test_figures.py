"""The figures of autoscaling, as every replica returns them."""

from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import worker as wire
from client_sdk.wire.load import Load, WorkerState
from tests.conftest import Serve, StartService, StartWorker
from tests.inference_worker.test_with_the_queue_service import held
from tests.promises.peer import Peer
from tests.queue_service.web.scale.api import FIRST, NOBODY, Caller
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


async def test_a_service_without_anything_has_figures(caller: Caller) -> None:
    assert await caller.figures() == {
        "service": "svc",
        "waiting": 0,
        "running": 0,
        "paused": False,
        "deliverable": 0,
        "sink_full": False,
        "workers": {"total": 0, "starting": 0, "ready": 0, "resting": 0, "draining": 0},
        "window": 0,
        "window_per_worker": None,
        "backlog_per_worker": 0,
        "oldest_s": None,
        "wait_s": None,
        "run_s": None,
        "load_s": None,
        "cpu": None,
        "put_total": 0,
        "due": [],
        "wanted": None,
        "existing": None,
        "reason": NOBODY,
        "driver_error": None,
        "decided_s_ago": None,
        "autoscaler": None,
        "cronscaler": None,
    }


async def test_figures_follow_jobs_and_workers_on_every_replica(
    caller: Caller, serve: Serve, session: aiohttp.ClientSession, peer: Peer
) -> None:
    other = Caller(session, await serve(lease_ms=900))
    for _ in range(5):
        await caller.submit()
    seen = await other.figures()
    assert (seen["waiting"], seen["running"], seen["put_total"]) == (5, 0, 5)
    assert seen["backlog_per_worker"] == 5
    assert seen["oldest_s"] >= 0

    await peer.connect(caller.url)
    await wait_until(lambda: len(peer.held) == 2, "the worker holds two jobs")
    seen = await other.figures()
    assert (seen["waiting"], seen["running"]) == (3, 2)
    assert seen["workers"] == {"total": 1, "starting": 0, "ready": 1, "resting": 0, "draining": 0}
    assert (seen["window"], seen["window_per_worker"], seen["backlog_per_worker"]) == (2, 2, 3)

    while await _work(peer):
        pass
    await wait_until(lambda: len(peer.outcomes) == 5, "all jobs are done")

    async def is_idle() -> bool:
        seen = await other.figures()
        assert (seen["waiting"], seen["running"], seen["oldest_s"]) == (0, 0, None)
        # The run times are the history from which waits are estimated.
        return seen["run_s"] is not None and seen["wait_s"] == 0

    await wait_until(is_idle, "nothing waits")


async def _work(peer: Peer) -> bool:
    done = len(peer.outcomes)
    if done == 5:
        return False
    await wait_until(lambda: bool(peer.held), "the worker holds a job")
    held = list(peer.held)
    await peer.complete(*held)
    await wait_until(lambda: len(peer.outcomes) == done + len(held), "the answers are stored")
    return True


async def test_a_worker_that_closes_its_window_rests_or_leaves(caller: Caller, peer: Peer) -> None:
    await peer.connect(caller.url)
    load = Load(limit=2, load_s=9.5, state=WorkerState.READY, cpu_percent=40.0)

    async def say(window: int, state: str) -> dict[str, Any]:
        await peer.send(wire.Renew(replace(load, state=state)))
        await peer.send(wire.SetWindow(window))

        async def has_changed() -> dict[str, Any] | None:
            figures = await caller.figures()
            workers = figures["workers"]
            assert figures["load_s"] == 9.5
            return figures if workers[state] == 1 and workers["total"] == 1 else None

        return await wait_until(has_changed, f"the worker is {state}")

    # A worker that runs one job alone has a window of 0, and its capacity counts.
    assert (await say(0, "ready"))["window"] == 2
    assert (await say(0, "resting"))["window"] == 0
    assert (await say(2, "ready"))["cpu"] == 40
    leaving = await say(0, "draining")
    assert (leaving["window"], leaving["window_per_worker"]) == (0, 2)


async def test_a_worker_that_does_not_report_its_state_closes_its_window_to_leave(
    caller: Caller, peer: Peer
) -> None:
    await peer.connect(caller.url)
    assert (await caller.figures())["workers"]["ready"] == 1
    await peer.send(wire.SetWindow(0))

    async def leaves() -> bool:
        return bool((await caller.figures())["workers"]["draining"] == 1)

    await wait_until(leaves, "the worker leaves")


async def test_deadlines_count_until_their_jobs_start_or_end(caller: Caller, peer: Peer) -> None:
    first = await caller.submit(start_by="100s")
    second = await caller.submit(finish_by="50s")
    third = await caller.submit(start_by="100s")
    later = await caller.submit(not_before="3000s", start_by="4000s")
    due = (await caller.figures())["due"]
    assert [one["count"] for one in due] == [1, 2]
    assert 40 < due[0]["within_s"] <= 50
    assert 90 < due[1]["within_s"] <= 100

    await caller.call("POST", path=f"/v1/services/svc/jobs/{third}/cancel", token=TOKEN)
    assert [one["count"] for one in (await caller.figures())["due"]] == [1, 1]
    await peer.connect(caller.url)
    await wait_until(lambda: len(peer.held) == 2, "the worker holds both jobs")
    assert (await caller.figures())["due"] == []
    for job in (first, second, later):
        await caller.call("POST", path=f"/v1/services/svc/jobs/{job}/cancel", token=TOKEN)
    await peer.complete(*peer.held)


async def test_many_deadlines_are_counted_in_few_steps(caller: Caller) -> None:
    jobs = [await caller.submit(start_by=f"{60 + 30 * number}s") for number in range(120)]
    due = (await caller.figures())["due"]
    assert sum(one["count"] for one in due) == len(jobs)
    assert len(due) <= 25
    times = [one["within_s"] for one in due]
    assert times == sorted(times)
    for job in jobs:
        await caller.call("POST", path=f"/v1/services/svc/jobs/{job}/cancel", token=TOKEN)


async def test_the_gauges_show_the_figures(caller: Caller, peer: Peer) -> None:
    await caller.submit()
    await caller.report(**FIRST, existing=3, wanted=4, reason="r", driver_error="no space")
    headers = {"Authorization": ADMIN_TOKEN}

    async def gauges() -> dict[str, str]:
        async with caller.session.get(f"{caller.url}/metrics", headers=headers) as answer:
            lines = (await answer.text()).splitlines()
        found = (line.rpartition(" ") for line in lines if line.startswith("penstock_scale_"))
        return {name.removeprefix("penstock_scale_"): value for name, _, value in found}

    shown = await gauges()
    assert shown['waiting{service="svc"}'] == "1.0"
    assert shown['wanted_workers{service="svc"}'] == "4.0"
    assert shown['workers{service="svc",state="starting"}'] == "3.0"
    assert shown['driver_failing{service="svc"}'] == "1.0"
    assert shown['wait_seconds{service="svc"}'] == "NaN"
    await caller.call("DELETE", params={"holder": "first"})
    assert (await gauges())['wanted_workers{service="svc"}'] == "NaN"


async def test_a_paused_service_says_so(caller: Caller, peer: Peer) -> None:
    await peer.connect(caller.url)
    assert (await caller.call("POST", path="/v1/services/svc/pause"))[0] == 200
    await caller.submit()
    figures = await caller.figures()
    assert (figures["paused"], figures["waiting"], figures["wait_s"]) == (True, 1, None)
    assert (await caller.call("POST", path="/v1/services/svc/resume"))[0] == 200
    assert (await caller.figures())["paused"] is False


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked to leave", "by a signal"])
async def test_a_real_worker_reports_its_load_time_and_that_it_drains(
    start_service: StartService,
    start_worker: StartWorker,
    session: aiohttp.ClientSession,
    is_asked: bool,
) -> None:
    service = await start_service(lease_ms=3000)
    caller = Caller(session, service.url)
    worker = await start_worker(
        service.url, worker_threads=1, engine_options={"delay_s": 60}, grace_s=60
    )

    async def is_ready() -> bool:
        figures = await caller.figures()
        has_measured = figures["load_s"] and figures["cpu"] is not None
        return bool(figures["workers"]["ready"] == 1 and has_measured)

    await wait_until(is_ready, "the worker is ready and its load time is known")
    job = await caller.submit()

    async def runs() -> bool:
        return bool((await caller.figures())["running"] == 1)

    await wait_until(runs, "the job runs")
    # A worker that gets the signal before its job is idle, and leaves at once.
    await wait_until(lambda: held(worker) == 1, "the worker has it")
    if is_asked:
        leave = "/v1/services/svc/workers/leave"
        assert (await caller.call("POST", path=leave, json={"count": 1}))[0] == 200
    else:
        worker._terminate()

    async def drains() -> bool:
        return bool((await caller.figures())["workers"]["draining"] == 1)

    await wait_until(drains, "the worker drains")
    await caller.call("POST", path=f"/v1/services/svc/jobs/{job}/cancel", token=TOKEN)
    await wait_until(lambda: not worker.running, "the worker has left")
