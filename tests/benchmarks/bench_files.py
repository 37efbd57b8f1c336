"""MB/s of large jobs, as a ratio to the same bytes over plain HTTP; and what files cost small jobs.

    python -m tests.benchmarks.bench_files [--rounds 5] [--mb 256] [--jobs 5000]

A large job: a client puts a file over the jobs API, a worker fetches it and gives it back as its
result, and the client reads that into a file.  So its bytes cross the network four times.  The bar
moves them four times, too, between files, over a server that only stores and sends
(bare_files.py).  Nobody there hashes, counts or waits for the disk.

Small jobs are those of bench_jobs.py, through a service that keeps files and one that keeps none.
Of these the CPU time of service and worker counts: other work on the machine changes it least.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from client_sdk import AsyncQueueClient
from deploy.local.redis_server import RedisServer
from tests.benchmarks import bare_files
from tests.benchmarks.bench_jobs import WINDOW, our_jobs
from tests.benchmarks.process_time import cpu_s
from tests.running import (
    TOKEN,
    QueueServiceProcess,
    ServerProcess,
    WorkerProcess,
    free_port,
    service_env,
    worker_env,
)

#: The size of a file that is not large, in MB, and how many of these there are at once.
MEDIUM_MB, AT_ONCE = 3, 4


def give_back(data: Path) -> Path:
    """What the worker computes: the file that it got."""
    return data


class Bench:
    """All processes of a run but Redis, which runs already."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.redis_url = redis_url
        for name in ("bare", "here", "job-files"):
            (folder / name).mkdir(mode=0o700)
        port = free_port()
        self.bare = ServerProcess(
            ["-m", "tests.benchmarks.bare_files", str(port), str(folder / "bare")],
            env={},
            log_path=folder / "bare.log",
            ready_url=f"http://127.0.0.1:{port}/readyz",
        )
        self.bare_url = f"http://127.0.0.1:{port}"
        self.with_files = self._service("files", files_dir=folder / "files", files_reserve_mb=0)
        self.without = self._service("none")
        self.workers = [
            self._worker(
                self.with_files,
                "large",
                engine="handler:tests.benchmarks.bench_files:give_back",
                worker_threads=AT_ONCE,
                files_dir=folder / "job-files",
                files_reserve_mb=0,
            ),
            self._worker(self.with_files, "svc", worker_threads=WINDOW),
            self._worker(self.without, "svc", worker_threads=WINDOW),
        ]

    def _service(self, name: str, **settings: object) -> QueueServiceProcess:
        env = service_env(
            redis_url=self.redis_url,
            key_prefix=name,
            services=[{"name": "svc"}, {"name": "large"}],
            **settings,
        )
        return QueueServiceProcess(env, log_path=self.folder / f"{name}.log")

    def _worker(self, at: QueueServiceProcess, of: str, **settings: object) -> WorkerProcess:
        env = worker_env(queue_url=at.url, service=of, **settings)
        return WorkerProcess(env, log_path=self.folder / f"worker-{of}-{at.port}.log")

    async def start(self) -> None:
        for process in (self.bare, self.with_files, self.without, *self.workers):
            await process.start()

    def stop(self) -> None:
        for process in (*self.workers, self.with_files, self.without, self.bare):
            process.kill_all()

    async def ours(self, source: Path, count: int, at_once: int) -> float:
        """Return the MB/s of this many large jobs."""
        async with AsyncQueueClient(self.with_files.url, "large", token=TOKEN) as client:

            async def one(number: int) -> None:
                path = self.folder / "here" / f"{number}-read"
                job = await client.jobs.submit(source)
                await client.jobs.result(job.id, to=path)
                await client.jobs.delete(job.id)
                path.unlink()

            return await _mb_per_s(one, _mb_of(source), count, at_once)

    async def plain(self, source: Path, count: int, at_once: int) -> float:
        """Return the MB/s of the same moves over plain HTTP."""
        here = self.folder / "here"

        async def one(number: int) -> None:
            await bare_files.copy_there_and_back(self.bare_url, source, here, str(number))
            bare_files.remove(here, self.folder / "bare", name=str(number))

        return await _mb_per_s(one, _mb_of(source), count, at_once)

    async def small(self, service: QueueServiceProcess, worker: WorkerProcess, jobs: int) -> float:
        """Return the CPU time of one small job, in microseconds."""
        before_s = cpu_s(service.pid, worker.pid)
        await our_jobs(service.url, jobs=jobs)
        return (cpu_s(service.pid, worker.pid) - before_s) * 1e6 / jobs


def _mb_of(path: Path) -> float:
    return path.stat().st_size / 1e6


async def _mb_per_s(
    one: Callable[[int], Awaitable[None]], mb: float, count: int, at_once: int
) -> float:
    turns = asyncio.Semaphore(at_once)

    async def in_turn(number: int) -> None:
        async with turns:
            await one(number)

    began = time.perf_counter()
    await asyncio.gather(*(in_turn(number) for number in range(count)))
    seconds = time.perf_counter() - began
    return mb * count / seconds


async def measure(rounds: int, mb: int, jobs: int) -> None:
    """Print the ratios of alternating rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis = RedisServer(folder / "redis")
        await redis.start()
        bench = Bench(folder, redis.url)
        large, medium = folder / "large.bin", folder / "medium.bin"
        large.write_bytes(os.urandom(mb * 1_000_000))
        medium.write_bytes(os.urandom(MEDIUM_MB * 1_000_000))
        try:
            await bench.start()
            kinds = (
                (f"one of {mb} MB", large, 1, 1),
                (f"{mb // MEDIUM_MB} of {MEDIUM_MB} MB", medium, mb // MEDIUM_MB, AT_ONCE),
            )
            for title, source, count, at_once in kinds:
                print(f"{title}, {at_once} at once")
                await _compare(
                    rounds,
                    lambda s=source, c=count, a=at_once: bench.plain(s, c, a),  # type: ignore[misc]
                    lambda s=source, c=count, a=at_once: bench.ours(s, c, a),  # type: ignore[misc]
                    names=("plain HTTP MB/s", "jobs MB/s"),
                )
            print("small jobs: CPU of service and worker")
            await _compare(
                rounds,
                lambda: bench.small(bench.without, bench.workers[2], jobs),
                lambda: bench.small(bench.with_files, bench.workers[1], jobs),
                names=("without, us/job", "with, us/job"),
            )
        finally:
            bench.stop()
            await redis.stop()


async def _compare(
    rounds: int,
    bar: Callable[[], Awaitable[float]],
    ours: Callable[[], Awaitable[float]],
    *,
    names: tuple[str, str],
) -> None:
    ratios = []
    print(f"{'round':>5} {names[0]:>16} {names[1]:>14} {'ratio':>6}")
    for number in range(rounds + 1):
        # In turns, so that what the machine does meanwhile favours neither.
        first, second = (bar, ours) if number % 2 else (ours, bar)
        got = {first: await first()}
        got[second] = await second()
        if number == 0:
            continue  # everybody warms up
        ratios.append(got[ours] / got[bar])
        print(f"{number:>5} {got[bar]:>16,.0f} {got[ours]:>14,.0f} {ratios[-1]:>6.2f}", flush=True)
    least, most = min(ratios), max(ratios)
    print(f"median {statistics.median(ratios):.2f}, from {least:.2f} to {most:.2f}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mb", type=int, default=256)
    parser.add_argument("--jobs", type=int, default=5000)
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    uvloop.run(measure(arguments.rounds, arguments.mb, arguments.jobs))
