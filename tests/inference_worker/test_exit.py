"""How a worker ends: real processes, real signals, and nothing left behind."""

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk.wire.worker import Completion, Delivery, Rejection, Result
from tests.conftest import StartWorker
from tests.inference_worker.conftest import HANDLERS
from tests.inference_worker.peer import Peer
from tests.running import WorkerProcess
from tests.waiting import wait_until

#: What `start_worker` waits for is the metrics port; a test that wants the connection says so.
CONNECTED = "the worker is connected"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def delivery(index: int, data: bytes = b"x") -> Delivery:
    return Delivery(index, 1, f"r-{index}", data, max_delivery=3)


def signal_worker(worker: WorkerProcess, number: signal.Signals) -> None:
    assert worker.process is not None
    worker.process.send_signal(number)


async def ended(worker: WorkerProcess, timeout_s: float) -> int:
    await wait_until(lambda: not worker.running, "the worker has ended", timeout_s)
    assert worker.process is not None
    assert worker.process.returncode is not None
    return worker.process.returncode


def held(worker: WorkerProcess) -> float:
    """Return how many deliveries run there, by its own metrics."""
    with urllib.request.urlopen(worker.metrics_url, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    values = [line.split()[1] for line in lines if line.startswith("penstock_worker_held ")]
    return float(values[0])


def group_of(worker: WorkerProcess) -> set[int]:
    """Return the processes of the worker's process group, zombies left out."""
    members = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except FileNotFoundError:
            continue
        if int(group) == worker.pid and state not in "ZX":
            members.add(int(stat.parent.name))
    return members


async def test_sigterm_finishes_within_the_grace_and_exits_with_0(
    start_worker: StartWorker, peer: Peer
) -> None:
    worker = await start_worker(peer.url, engine_options={"delay_s": 0.5})
    await wait_until(lambda: peer.connected, CONNECTED)
    await peer.deliver(delivery(1))
    await wait_until(lambda: held(worker) == 1, "it runs")
    signal_worker(worker, signal.SIGTERM)
    assert await ended(worker, 10) == 0
    assert peer.answers == [Completion(1, 1, Result(b"x"))]


async def test_a_handler_is_torn_down_once_when_its_worker_drains_and_not_when_it_is_killed(
    start_worker: StartWorker, peer: Peer
) -> None:
    worker = await start_worker(peer.url, engine=f"{HANDLERS}:Leaves")
    await wait_until(lambda: peer.connected, CONNECTED)
    await peer.deliver(delivery(1, b"0"))
    await wait_until(lambda: len(peer.answers) == 1, "it has answered")
    killed = int(_answer(peer, 0))
    os.kill(killed, signal.SIGKILL)

    await wait_until(lambda: 0 in peer.windows and peer.windows[-1] > 0, "the engine is back")
    await peer.deliver(delivery(2, b"0.5"))
    await wait_until(lambda: held(worker) == 1, "it runs")
    signal_worker(worker, signal.SIGTERM)
    assert await ended(worker, 10) == 0
    lines = [
        line
        for line in worker.log.splitlines()
        if line.startswith(("computed by ", "torn down by "))
    ]
    assert lines[0] == f"computed by {killed}"
    again = _answer(peer, 1)
    # Once, by the process that is there, and after what it held was done.
    assert lines[1:] == [f"computed by {again}", f"torn down by {again}"]


def _answer(peer: Peer, number: int) -> str:
    completion = peer.answers[number]
    assert isinstance(completion, Completion), completion
    assert completion.result is not None
    return completion.result.data.decode()


async def test_sigterm_rejects_with_shutdown_after_the_grace(
    start_worker: StartWorker, peer: Peer
) -> None:
    worker = await start_worker(peer.url, engine=f"{HANDLERS}:obey", grace_s=0.5, worker_threads=2)
    await wait_until(lambda: peer.connected, CONNECTED)
    await peer.deliver(delivery(1, b"sleep 600"), delivery(2, b"quick"))
    await wait_until(lambda: peer.completions, "one is answered")
    began_at = time.monotonic()
    signal_worker(worker, signal.SIGTERM)
    await wait_until(lambda: peer.windows == [0], "the window is closed")
    await wait_until(lambda: peer.rejections, "the other is rejected")
    assert time.monotonic() - began_at >= 0.4
    assert peer.rejections == [Rejection(1, 1, "Shutdown", "the worker is leaving")]
    assert await ended(worker, 15) == 0
    await wait_until(lambda: not group_of(worker), "nothing is left behind")


async def test_a_second_signal_leaves_at_once(start_worker: StartWorker, peer: Peer) -> None:
    worker = await start_worker(peer.url, engine=f"{HANDLERS}:obey", grace_s=600)
    await wait_until(lambda: peer.connected, CONNECTED)
    await peer.deliver(delivery(1, b"hold 600"))
    await wait_until(lambda: held(worker) == 1, "it runs")
    signal_worker(worker, signal.SIGINT)
    await wait_until(lambda: peer.windows == [0], "the window is closed")
    signal_worker(worker, signal.SIGTERM)
    assert await ended(worker, 3) == 0
    assert [answer.code for answer in peer.rejections] == ["Shutdown"]
    await wait_until(lambda: not group_of(worker), "nothing is left behind")


async def test_a_handler_stuck_inside_the_worker_does_not_keep_it_from_leaving(
    start_worker: StartWorker, peer: Peer
) -> None:
    worker = await start_worker(
        peer.url, engine=f"{HANDLERS}:obey", engine_process=False, grace_s=0.1
    )
    await wait_until(lambda: peer.connected, CONNECTED)
    await peer.deliver(delivery(1, b"sleep 600"))
    await wait_until(lambda: held(worker) == 1, "it runs")
    signal_worker(worker, signal.SIGTERM)
    assert await ended(worker, 5) == 0
    assert [answer.code for answer in peer.rejections] == ["Shutdown"]


async def test_sigterm_while_the_engine_loads_ends_a_worker_that_never_subscribed(
    start_worker: StartWorker, peer: Peer
) -> None:
    worker = await start_worker(peer.url, engine=f"{HANDLERS}:LoadsForever")
    signal_worker(worker, signal.SIGTERM)
    assert await ended(worker, 5) == 0
    assert not peer.hellos
    await wait_until(lambda: not group_of(worker), "nothing is left behind")


async def test_sigterm_while_the_queue_service_is_away_ends_the_worker_too(
    start_worker: StartWorker,
) -> None:
    worker = await start_worker("http://127.0.0.1:9")
    await wait_until(lambda: "The engine is ready" in worker.log, "it tries to connect")
    signal_worker(worker, signal.SIGTERM)
    assert await ended(worker, 5) == 0


async def test_a_killed_worker_leaves_no_engine_behind(
    start_worker: StartWorker, peer: Peer
) -> None:
    worker = await start_worker(peer.url, engine=f"{HANDLERS}:obey", worker_threads=2)
    await wait_until(lambda: peer.connected, CONNECTED)
    await peer.deliver(delivery(1, b"sleep 600"), delivery(2, b"quick"))
    await wait_until(lambda: peer.completions, "the engine works")
    assert len(group_of(worker)) >= 2
    worker.kill()
    await wait_until(lambda: not group_of(worker), "nothing is left behind")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"engine": f"{HANDLERS}:CannotLoad"},
            f"{HANDLERS}:CannotLoad did not load: FileNotFoundError",
        ),
        (
            {"engine": "telepathy"},
            "BAD_ENGINE: expected an engine echo, handler:module:Class, ",
        ),
        ({"engine_options": {"colour": 1}}, "BAD_ENGINE: expected options that echo knows"),
        ({"worker_threads": 0}, "PENSTOCK_WORKER_WORKER_THREADS: Input should be greater"),
    ],
)
async def test_a_worker_that_cannot_work_says_why_and_exits_with_1(
    start_worker: StartWorker, peer: Peer, settings: dict[str, Any], sentence: str
) -> None:
    worker = await start_worker(peer.url, wait=False, **settings)
    assert await ended(worker, 20) == 1
    assert sentence in worker.log
    # Only what a user's own code raises needs one.
    assert ("Traceback" in worker.log) == ("CannotLoad" in sentence)
    assert not peer.hellos


async def test_the_status_port_tells_how_the_worker_is(
    start_worker: StartWorker, peer: Peer, http: aiohttp.ClientSession
) -> None:
    worker = await start_worker(peer.url, worker_threads=3, log_json=True)
    await wait_until(lambda: peer.connected, CONNECTED)
    await peer.deliver(delivery(1))
    await wait_until(lambda: peer.completions, "it is answered")
    base = worker.metrics_url.removesuffix("/metrics")
    async with http.get(f"{base}/healthz") as answer:
        told = await answer.json()
        load = told.pop("load")
        expected = {"engine": "ok", "reason": "", "connected": True, "window": 3, "held": 0}
        assert (answer.status, told) == (200, {**expected, "loading": None})
        assert (load["running"], load["waiting"], load["limit"]) == (0, 0, 3)
        assert load["memory_bytes"] > 1_000_000
    async with http.get(f"{base}/metrics") as answer:
        assert 'penstock_worker_completions_total{end="result"} 1.0' in await answer.text()
    await peer.stop()

    async def unready() -> bool:
        async with http.get(f"{base}/readyz") as answer:
            return answer.status == 503

    await wait_until(unready, "the worker is no longer ready")
    async with http.get(f"{base}/healthz") as answer:
        assert answer.status == 200
    for line in worker.log.splitlines():
        assert {"time", "level", "message"} <= set(json.loads(line))


async def test_a_restarted_worker_is_a_new_subscriber(
    start_worker: StartWorker, peer: Peer
) -> None:
    for _ in range(2):
        worker = await start_worker(peer.url)
        await wait_until(lambda: peer.connected, CONNECTED)
        worker.kill()
        await wait_until(lambda: not peer.connected, "the connection is gone")
    assert peer.hellos[0].uid != peer.hellos[1].uid
    assert str(worker.pid) in peer.hellos[1].uid
    await asyncio.to_thread(worker.kill_all)


async def test_how_far_the_loading_is_can_be_asked_for(
    start_worker: StartWorker, peer: Peer, http: aiohttp.ClientSession
) -> None:
    worker = await start_worker(peer.url, engine=f"{HANDLERS}:LoadsHalf")
    base = worker.metrics_url.removesuffix("/metrics")

    async def loading() -> bool:
        async with http.get(f"{base}/readyz") as answer:
            told = await answer.json()
            half = {"fraction": 0.5, "note": "the weights are read"}
            return bool(answer.status == 503 and told["loading"] == half)

    await wait_until(loading, "half of it is loaded")
    assert "Loading, 50 %. the weights are read" in worker.log
    assert not peer.connected
