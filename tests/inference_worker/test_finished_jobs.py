"""One log line for each finished job, as text and as JSON."""

import json
import logging
import re
import time

import pytest

from client_sdk.wire.worker import Delivery
from inference_worker.finished_jobs import FinishedJobs
from inference_worker.logs import LogSettings
from tests.conftest import StartWorker
from tests.inference_worker.conftest import HANDLERS
from tests.inference_worker.peer import Peer
from tests.running import WorkerProcess
from tests.waiting import wait_until


def delivery(index: int, data: bytes, *, attempt: int = 1) -> Delivery:
    stored_at_ms = int((time.time() - 5) * 1000)
    return Delivery(index, attempt, f"r-{index}", data, max_delivery=2, stored_at_ms=stored_at_ms)


async def run_jobs(peer: Peer, worker: WorkerProcess) -> None:
    await wait_until(lambda: peer.connected, "the worker is connected")
    await peer.deliver(delivery(1, b"quick"), delivery(2, b"\xff"))
    await wait_until(lambda: len(peer.answers) == 2, "both are answered")
    await peer.deliver(delivery(2, b"\xff", attempt=2))
    await wait_until(lambda: len(peer.answers) == 3, "the second attempt is answered")
    assert await worker.stop() == 0


async def test_each_finished_job_has_one_line(start_worker: StartWorker, peer: Peer) -> None:
    worker = await start_worker(peer.url, engine=f"{HANDLERS}:obey")
    await run_jobs(peer, worker)
    lines = re.findall(
        r": job (\S+) (\w+): attempt (\d), waited (\d+)\.\d{3} s, ran \d+\.\d{3} s$",
        worker.log,
        re.MULTILINE,
    )
    assert sorted(line[:3] for line in lines) == [("r-1", "succeeded", "1"), ("r-2", "failed", "2")]
    assert all(int(waited) >= 5 for *_, waited in lines)


async def test_the_line_is_an_object_in_a_json_log(start_worker: StartWorker, peer: Peer) -> None:
    worker = await start_worker(peer.url, engine=f"{HANDLERS}:obey", log_json="true")
    await run_jobs(peer, worker)
    found = [json.loads(line) for line in worker.log.splitlines()]
    jobs = [line["job"] for line in found if "job" in line]
    assert sorted((job["id"], job["state"], job["attempt"]) for job in jobs) == [
        ("r-1", "succeeded", 1),
        ("r-2", "failed", 2),
    ]
    assert all(job["wait_s"] >= 5 and job["run_s"] >= 0 for job in jobs)


async def test_a_level_above_silences_it(start_worker: StartWorker, peer: Peer) -> None:
    worker = await start_worker(peer.url, engine=f"{HANDLERS}:obey", log_level="warning")
    await run_jobs(peer, worker)
    assert ": job r-" not in worker.log


async def test_an_id_forges_no_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    LogSettings().apply()
    jobs = FinishedJobs()
    forged = Delivery(1, 1, "a\njob b succeeded: attempt 1", b"", max_delivery=1)
    jobs.note(forged, "failed", run_s=0.5)
    jobs.note(delivery(2, b""), "succeeded", run_s=0.5)
    jobs.flush()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert r"job a\njob b succeeded: attempt 1 failed: attempt 1" in lines[0]
