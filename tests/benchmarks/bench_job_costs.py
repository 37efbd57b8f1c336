"""What a job costs through each API: Redis commands, script time, and CPU of each process.

    python -m tests.benchmarks.bench_job_costs [--rounds 3] [--jobs 2000] [--clients 16]

A job: a client submits 256 bytes, a worker process (echo, window 64) completes it, the client has
the result.  The APIs take turns, round by round.  CPU time and Redis' own counts depend little on
what else the machine does.  The ratio compares the CPU of all processes with that of `put` and
a watch.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import aiohttp
import uvloop
from redis.asyncio import Redis

from client_sdk import AsyncQueueClient
from client_sdk.wire import names
from deploy.local.redis_server import RedisServer
from tests.benchmarks.command_stats import read_stats
from tests.benchmarks.process_time import cpu_s
from tests.running import TOKEN, QueueServiceProcess, WorkerProcess, service_env, worker_env

WINDOW = 64
PAYLOAD = b"x" * 256


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one job: commands and scripts of Redis, microseconds of scripts, CPU in ms by process."""

    commands: float
    scripts: float
    script_us: float
    client_ms: float
    service_ms: float
    worker_ms: float
    store_ms: float

    @property
    def all_ms(self) -> float:
        """The CPU of all processes."""
        return self.client_ms + self.service_ms + self.worker_ms + self.store_ms


@dataclass(frozen=True, slots=True)
class Bench:
    """The processes, and how jobs are run through each API."""

    redis: Redis
    server: RedisServer
    service: QueueServiceProcess
    worker: WorkerProcess
    clients: int

    async def measure(self, run: Callable[[int], Awaitable[None]], jobs: int) -> Cost:
        """Run jobs, and say what each of them cost."""

        def cpus() -> list[float]:
            own = sum(os.times()[:2])
            return [own, *(cpu_s(one.pid) for one in (self.service, self.worker, self.server))]

        stats, cpu = await read_stats(self.redis), cpus()
        await run(jobs)
        spent = (await read_stats(self.redis)) - stats
        each_ms = [
            1000 * (after - before) / jobs for after, before in zip(cpus(), cpu, strict=True)
        ]
        return Cost(
            spent.inner_calls / jobs, spent.script_calls / jobs, spent.script_us / jobs, *each_ms
        )

    async def put_and_watch(self, jobs: int) -> None:
        """Put through EAS, and read the results from one watch."""
        loop = asyncio.get_running_loop()
        arrived: dict[str, asyncio.Future[None]] = {}
        async with AsyncQueueClient(self.service.url, "svc", token=TOKEN) as client:

            async def collect() -> None:
                async for frame in client.sink.watch(auto_commit=True):
                    name = frame.tags[names.REQUEST_ID_TAG]
                    arrived.setdefault(name, loop.create_future()).set_result(None)

            async def one() -> None:
                ticket = await client.put(PAYLOAD)
                await arrived.setdefault(ticket.request_id, loop.create_future())

            collecting = asyncio.create_task(collect())
            await self._at_once(one, jobs)
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)

    async def submit_and_result(self, jobs: int) -> None:
        """Submit through the jobs API, and wait for the result."""
        async with AsyncQueueClient(self.service.url, "svc", token=TOKEN) as client:

            async def one() -> None:
                job = await client.jobs.submit(PAYLOAD)
                await client.jobs.result(job.id, timeout_s=60)

            await self._at_once(one, jobs)

    async def post_and_wait(self, jobs: int) -> None:
        """One POST for each job, with plain aiohttp."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Prefer": "wait=60"}
        url = f"{self.service.url}/v1/services/svc/jobs"
        async with aiohttp.ClientSession(headers=headers) as session:

            async def one() -> None:
                async with session.post(url, data=PAYLOAD) as answer:
                    assert answer.status == 200, answer.status
                    await answer.read()

            await self._at_once(one, jobs)

    async def _at_once(self, one: Callable[[], Awaitable[None]], jobs: int) -> None:
        async def client() -> None:
            for _ in range(jobs // self.clients):
                await one()

        await asyncio.gather(*(client() for _ in range(self.clients)))


def print_table(costs: dict[str, list[Cost]]) -> None:
    """Print the medians of each API; the ratio is to the first."""
    print(f"{'':<20}{'Redis, each job':>28}{'CPU, ms each job':>43}")
    columns = ("commands", "scripts", "us", "client", "service", "worker", "store", "all", "ratio")
    print(f"{'':<20}" + "".join(f"{name:>9}" for name in columns))
    base, *_ = costs.values()
    for name, found in costs.items():
        numbers = [statistics.median(column) for column in zip(*map(astuple, found), strict=True)]
        ratios = [one.all_ms / other.all_ms for one, other in zip(found, base, strict=True)]
        all_ms = statistics.median(one.all_ms for one in found)
        numbers += [all_ms, statistics.median(ratios)]
        print(f"{name:<20}" + "".join(f"{number:>9.2f}" for number in numbers))


async def measure(rounds: int, jobs: int, clients: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder) / "redis", appendfsync="no")
        await server.start()
        service = QueueServiceProcess(
            service_env(
                redis_url=server.url,
                key_prefix="bench",
                services=[{"name": "svc"}],
                durability="memory",
            ),
            log_path=Path(folder) / "service.log",
        )
        worker = WorkerProcess(
            worker_env(queue_url=service.url, service="svc", worker_threads=WINDOW),
            log_path=Path(folder) / "worker.log",
        )
        redis = Redis.from_url(server.url)
        try:
            await service.start()
            await worker.start()
            bench = Bench(redis, server, service, worker, clients)
            apis = {
                "put, watch": bench.put_and_watch,
                "submit, result": bench.submit_and_result,
                "POST, Prefer: wait": bench.post_and_wait,
            }
            costs: dict[str, list[Cost]] = {name: [] for name in apis}
            for number in range(rounds + 1):
                for name, run in apis.items():
                    cost = await bench.measure(run, jobs if number else jobs // 4)
                    if number:  # everybody warms up
                        costs[name].append(cost)
            print_table(costs)
        finally:
            await redis.aclose()
            worker.kill_all()
            service.kill_all()
            await server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1600)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.rounds, arguments.jobs, arguments.clients))
