"""Workers in this process, and the peer they talk to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from secrets import token_hex

import pytest

from client_sdk.backoff import Backoff
from client_sdk.transport import RetryPolicy, Transport
from client_sdk.work import WorkConnection
from inference_worker.engines.engine import Engine
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.file_store import FileStore
from inference_worker.job_files import JobFiles
from inference_worker.job_folders import JobFolders
from inference_worker.logs import LogSettings
from inference_worker.metrics import Metrics
from inference_worker.process import EngineProcess
from inference_worker.worker import Worker
from tests.inference_worker.peer import Peer
from tests.inference_worker.raw_server import RawServer
from tests.waiting import wait_until

HANDLERS = "handler:tests.inference_worker.handlers"


class RunningWorker:
    """A worker, its engine, its counters, and the task that it runs in."""

    def __init__(self, worker: Worker, metrics: Metrics) -> None:
        self.worker = worker
        self.metrics = metrics
        self.task = asyncio.create_task(worker.run())

    def count(self, name: str, **labels: str) -> float:
        """Return a counter's value, by its name without the prefix."""
        sample = f"penstock_worker_{name}"
        return self.metrics.registry.get_sample_value(sample, labels) or 0.0


def store_of(peer: Peer, tmp_path: Path, reserve_bytes: int) -> FileStore:
    folders = JobFolders(tmp_path / "jobs", f"worker-{token_hex(4)}")
    folders.open()
    transport = Transport(
        peer.url,
        "svc",
        token="",
        uid="uid-1",
        gid="eas",
        timeout_s=5.0,
        connections=10,
        retry=RetryPolicy(retries=4, first_delay_s=0.001, most_delay_s=0.01),
    )
    return FileStore(transport, "svc", folders, reserve_bytes)


StartInProcess = Callable[..., Awaitable[RunningWorker]]


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    played = Peer()
    await played.start()
    yield played
    await played.stop()


@pytest.fixture
async def start(peer: Peer, tmp_path: Path) -> AsyncIterator[StartInProcess]:
    """Start a worker for the peer: `await start("echo", capacity=4, delay_s=1)`."""
    started: list[RunningWorker] = []

    async def run(
        name: str = "echo",
        *,
        capacity: int | None = None,
        grace_s: float = 5.0,
        own_process: bool | None = None,
        run_timeout_s: float = 0.0,
        sick_after: int = 0,
        exit_when_idle_s: float = 0.0,
        reserve_bytes: int = 0,
        takes_files: bool = True,
        **options: object,
    ) -> RunningWorker:
        spec = EngineSpec(name, options, capacity)
        engine: Engine
        if spec.wants_own_process if own_process is None else own_process:
            engine = EngineProcess(spec, logs=LogSettings())
        else:
            engine = load_engine(spec)

        def connect(window: int) -> WorkConnection:
            quick = Backoff(first_s=0.01, most_s=0.1)
            return WorkConnection(
                peer.url,
                "svc",
                window=window,
                uid="uid-1",
                backoff=quick,
                load=worker.load,
                on_leave=worker.drain_when_asked,
                takes_files=takes_files,
            )

        metrics = Metrics()
        worker = Worker(
            engine,
            connect,
            metrics=metrics,
            grace_s=grace_s,
            run_timeout_s=run_timeout_s,
            sick_after=sick_after,
            exit_when_idle_s=exit_when_idle_s,
            files=JobFiles(store_of(peer, tmp_path, reserve_bytes) if takes_files else None),
        )
        running = RunningWorker(worker, metrics)
        started.append(running)
        await wait_until(lambda: peer.connected or running.task.done(), "the worker is connected")
        return running

    yield run
    for running in started:
        running.worker.drain_at_once()
        await asyncio.gather(running.task, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """Serve over HTTP what the test writes down."""
    raw = RawServer()
    await raw.start()
    yield raw
    await raw.stop()
