"""A worker whose GPU breaks: its jobs succeed elsewhere, and it returns when the GPU works."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from client_sdk import AsyncQueueClient
from deploy.admin import AdminApi
from tests.conftest import StartWorker
from tests.gpus import COMPILER, GIB, StubGpus, StubLibraries
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess, WorkerProcess
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler"),
    pytest.mark.timeout(240),
]

ENGINE = "handler:tests.inference_worker.gpu.subject:Fragile"


class Fleet:
    """A queue service, and a worker on a machine with one GPU."""

    def __init__(
        self, service: QueueServiceProcess, start_worker: StartWorker, folder: Path
    ) -> None:
        self.service = service
        self.gpus = StubGpus(folder / "machine", 1)
        self.libraries = StubLibraries(folder / "libraries")
        self.libraries.use(1 * GIB)
        self.broken = folder / "broken"
        self._locks = folder / "locks"
        self._start_worker = start_worker

    async def start_sick(self) -> WorkerProcess:
        """Start the worker with the GPU, whose jobs fail while the file `broken` exists."""
        return await self._start_worker(
            *(self.service.url,),
            name="sick",
            engine=ENGINE,
            gpus=1,
            gpu_dir=self._locks,
        )

    async def start_well(self) -> WorkerProcess:
        """Start a worker without a GPU."""
        return await self._start_worker(self.service.url, engine=ENGINE, name="well")

    def fail(self, cause: str, word: str) -> None:
        """Let the GPU fail in this way."""
        # So that it stays broken, also after an Xid error.
        self.libraries.set(*(("cuda", 999) if cause == "xid" else (cause, word)))
        if cause == "xid":
            self.libraries.report_xid(int(word))
        self.broken.touch()

    def repair(self) -> None:
        """Let the GPU work again."""
        self.libraries.set("cuda", 0)
        self.libraries.set("nvml", 0)
        self.broken.unlink(missing_ok=True)


@pytest.fixture
def fleet(
    service: QueueServiceProcess,
    start_worker: StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Fleet:
    fleet = Fleet(service, start_worker, tmp_path)
    monkeypatch.setenv("PATH", fleet.gpus.path)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fleet.libraries.path))
    monkeypatch.setenv("STUB_BROKEN", str(fleet.broken))
    return fleet


@pytest.fixture
async def client(service: QueueServiceProcess) -> AsyncIterator[AsyncQueueClient]:
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        yield client


async def load_of(service: QueueServiceProcess) -> dict[str, Any]:
    """Return the load of the worker with a GPU, and its window."""
    answer = await AdminApi(service.url, ADMIN_TOKEN).ask_async("GET", "/v1/services/svc")
    for one in answer["input"]["subscribers"]:
        if one["connected"] and one["about"].get("load", {}).get("gpu_state"):
            return {**one["about"]["load"], "window": one["window"]}
    return {"gpu_state": "", "gpu_reason": "", "window": None}


async def until_state(fleet: Fleet, state: str) -> dict[str, Any]:
    async def shown() -> dict[str, Any]:
        load = await load_of(fleet.service)
        assert load["gpu_state"] == state, load
        assert (load["window"] == 0) is (state == "quarantined"), load
        assert bool(load["gpu_reason"]) is (state != "healthy"), load
        return load

    return await wait_until(shown, f"the worker is {state}", 60)


@pytest.mark.parametrize(
    ("cause", "word", "reason"),
    [
        ("cuda", "803", "cuInit failed with 803"),
        ("cuda", "crash", "the probe of the GPUs gave no answer"),
        ("nvml", "15", "NVML"),
        ("xid", "79", "the driver has reported Xid 79"),
    ],
)
async def test_jobs_of_a_broken_gpu_succeed_elsewhere_without_being_charged(
    fleet: Fleet, client: AsyncQueueClient, cause: str, word: str, reason: str
) -> None:
    sick = await fleet.start_sick()
    load = await until_state(fleet, "healthy")
    assert load["gpu_memory_total_bytes"] == 80 * GIB
    assert load["gpu_utilization"] == pytest.approx(0.37)

    # It breaks while two jobs run: one of them fails, the other one never ends.
    once = {"max_attempts": 1.0}
    jobs = [await client.jobs.submit(text, retry=once) for text in ("waits", "fails")]
    await wait_until(lambda: sick.log.count("subject runs") == 2, "both run")
    fleet.fail(cause, word)
    await until_state(fleet, "quarantined")
    quarantined = sick.log.partition("The worker's GPUs are quarantined: ")[2]
    assert reason in quarantined.splitlines()[0]

    await fleet.start_well()
    for job in jobs:
        assert (await client.jobs.result(job.id)).startswith(b"well")
        await client.jobs.delete(job.id)

    fleet.repair()
    await until_state(fleet, "healthy")
    assert "a new engine is started" in sick.log


async def test_a_gpu_that_is_broken_at_the_start_is_shown_and_loads_nothing(fleet: Fleet) -> None:
    fleet.fail("cuda", "802")
    sick = await fleet.start_sick()
    load = await until_state(fleet, "quarantined")
    assert "fabric manager" in load["gpu_reason"]
    assert "is loading" not in sick.log
    fleet.repair()
    await until_state(fleet, "healthy")
    assert "is loading" in sick.log


async def test_memory_that_a_job_leaves_behind_is_a_suspicion(
    fleet: Fleet, client: AsyncQueueClient
) -> None:
    await fleet.start_sick()
    await until_state(fleet, "healthy")
    fleet.libraries.use(40 * GIB)
    job = await client.jobs.submit("leaks")
    assert (await client.jobs.result(job.id)) == b"sick: leaks"
    load = await until_state(fleet, "suspect")
    assert "40960 MiB of GPU memory are in use although no job runs" in load["gpu_reason"]
    fleet.libraries.use(1 * GIB)
    await until_state(fleet, "healthy")
    # Before the next job would run out of memory, a new engine frees it.
    fleet.libraries.use(79 * GIB)
    await until_state(fleet, "quarantined")
    fleet.libraries.use(1 * GIB)
    await until_state(fleet, "healthy")
    await client.jobs.delete(job.id)
