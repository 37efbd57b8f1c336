"""Real workers on a stub machine of eight GPUs: each has its own, whatever dies."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client_sdk import AsyncQueueClient
from deploy.admin import AdminApi
from tests.conftest import StartWorker
from tests.gpus import MODEL, StubGpus
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess, WorkerProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(240)

SEES = "handler:tests.inference_worker.gpu.subject:sees"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], StubGpus]:
    def make(count: int) -> StubGpus:
        gpus = StubGpus(tmp_path / "machine", count)
        monkeypatch.setenv("PATH", gpus.path)
        return gpus

    return make


def gpu_of(worker: WorkerProcess) -> int | None:
    found = re.findall(r"The worker has GPU (\d+)", worker.log)
    return int(found[-1]) if found else None


def held(workers: list[WorkerProcess]) -> list[int]:
    """Return the GPUs that these workers hold, once each holds one."""
    gpus = [gpu for worker in workers if (gpu := gpu_of(worker)) is not None]
    assert len(gpus) == len(workers), [worker.log for worker in workers]
    return sorted(gpus)


async def described(service: QueueServiceProcess) -> list[dict[str, Any]]:
    answer = await AdminApi(service.url, ADMIN_TOKEN).ask_async("GET", "/v1/services/svc")
    subscribers: list[dict[str, Any]] = answer["input"]["subscribers"]
    return [one["about"] for one in subscribers if one["connected"]]


async def test_eight_workers_hold_eight_gpus_and_a_ninth_waits_and_says_why(
    service: QueueServiceProcess,
    start_worker: StartWorker,
    machine: Callable[[int], StubGpus],
) -> None:
    gpus = machine(8)
    workers = [await start_worker(service.url, wait=False, **gpus.settings()) for _ in range(8)]
    await wait_until(lambda: held(workers) == list(range(8)), "each has its own GPU", 120)

    async def all_shown() -> bool:
        shown = {about["gpu"] for about in await described(service)}
        return shown == {f"{MODEL} (GPU {number})" for number in range(8)}

    await wait_until(all_shown, "all are connected, each with its own GPU")

    ninth = await start_worker(service.url, name="the-ninth", **gpus.settings())

    async def waits() -> bool:
        loads = [one for one in await described(service) if one.get("load", {}).get("gpu_state")]
        assert len(loads) == 1
        (about,) = loads
        assert about["load"]["gpu_state"] == "waiting"
        assert "GPU 7" in about["load"]["gpu_reason"]
        return f"(process {workers[0].pid} on " in ninth.log

    await wait_until(waits, "the ninth says why it waits")
    assert ninth.log.count("waits for a free GPU of 8") == 1, "the same reason is logged once"
    assert gpu_of(ninth) is None

    # Three die, in all ways that there are; the ninth gets the GPU of one of them.
    freed = {gpu_of(worker) for worker in workers[:3]}
    workers[0].kill()
    workers[1].kill_all()
    await workers[2].stop()
    await wait_until(lambda: gpu_of(ninth) in freed, "the ninth has the GPU of a dead worker")
    alive = [*workers[3:], ninth]
    for dead in workers[:2]:
        dead.log_path.write_text("")
        dead.spawn()
        alive.append(dead)
    await wait_until(lambda: held(alive) == list(range(8)), "each has its own GPU again", 60)


async def test_the_engine_sees_only_its_gpus_and_holds_them_too(
    service: QueueServiceProcess,
    start_worker: StartWorker,
    machine: Callable[[int], StubGpus],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = machine(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1,2")
    settings = gpus.settings(gpus=2, engine=SEES)
    await start_worker(service.url, **settings)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit(b"{}")
        seen = json.loads(await client.jobs.result(job.id))
        await client.jobs.delete(job.id)
    assert seen["visible"] == "3,1"
    assert seen["order"] == "PCI_BUS_ID"
    # Both locks are open in the engine, and not in what it starts.
    assert (seen["locks"], seen["locks_of_child"]) == (2, 0)
    assert seen["settings"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        (3, None, "expected 3, got 2"),
        (1, "", "CUDA_VISIBLE_DEVICES hides all"),
        (1, "5", "got '5'"),
    ],
)
async def test_gpus_that_can_never_be_had_end_the_worker(
    start_worker: StartWorker,
    machine: Callable[[int], StubGpus],
    monkeypatch: pytest.MonkeyPatch,
    wrong: tuple[int, str | None, str],
) -> None:
    (count, visible, sentence), gpus = wrong, machine(2)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    worker = await start_worker("http://127.0.0.1:9", wait=False, **gpus.settings(gpus=count))
    await wait_until(lambda: not worker.running, "it has ended")
    assert "NO_GPUS: " in worker.log
    assert sentence in worker.log
    assert worker.process is not None
    assert worker.process.returncode == 1
