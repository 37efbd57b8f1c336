"""How well the start that is estimated at a submission agrees with the truth.

    python -m tests.benchmarks.bench_estimate [--jobs 500]

Jobs of 0.1 to 0.3 s (echo) come steadily, a fifth more of them than two workers of window 4 take,
so that a line grows.  Of each that had to wait the p50 that its submission was answered with is
compared with when it began.
"""

import argparse
import asyncio
import statistics
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import uvloop

from client_sdk import AsyncQueueClient, Job
from deploy.local.redis_server import RedisServer
from tests.running import TOKEN, QueueServiceProcess, WorkerProcess, service_env, worker_env

WORKERS, WINDOW = 2, 4
RUN_S = (0.1, 0.3)
LOAD = 1.2
#: Jobs that go before, so that there is a past to estimate from.
WARM_UP = 40


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def ratio(submitted: Job, ended: Job) -> float | None:
    """Estimated wait over the true one; None where there was nothing to estimate or wait for."""
    estimate: dict[str, Any] | None = submitted.data["estimate"]
    if estimate is None or estimate["start"] is None:
        return None
    waited_s = _moment(ended.data["started_at"]) - _moment(submitted.data["created_at"])
    return estimate["start"]["p50_s"] / waited_s if waited_s > sum(RUN_S) / 2 else None


async def submit_steadily(client: AsyncQueueClient, jobs: int) -> list[Job]:
    """Submit jobs at a steady rate, whatever the submissions themselves take."""
    pause_s = sum(RUN_S) / 2 / (WORKERS * WINDOW) / LOAD
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    pending = []
    for number in range(jobs):
        delay_s = began_at + number * pause_s - loop.time()
        woken = loop.create_future()
        loop.call_later(max(0.0, delay_s), woken.set_result, None)
        await woken
        pending.append(asyncio.create_task(client.jobs.submit(b"x", events=False)))
    return await asyncio.gather(*pending)


async def measure(jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder) / "redis")
        await redis.start()
        service = QueueServiceProcess(
            service_env(redis_url=redis.url, key_prefix="bench", services=[{"name": "svc"}]),
            log_path=Path(folder) / "service.log",
        )
        options = {"delay_s": list(RUN_S)}
        workers = [
            WorkerProcess(
                worker_env(
                    queue_url=service.url,
                    service="svc",
                    worker_threads=WINDOW,
                    engine_options=options,
                ),
                log_path=Path(folder) / f"worker-{number}.log",
            )
            for number in range(WORKERS)
        ]
        try:
            await service.start()
            for worker in workers:
                await worker.start()
            async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
                for job in await submit_steadily(client, WARM_UP):
                    await client.jobs.result(job.id, timeout_s=60)
                submitted = await submit_steadily(client, jobs)
                await client.jobs.result(submitted[-1].id, timeout_s=600)
                ratios = []
                for job in submitted:
                    await client.jobs.result(job.id, timeout_s=60)
                    found = ratio(job, await client.jobs.get(job.id))
                    if found is not None:
                        ratios.append(found)
            good = sum(0.7 <= one <= 1.3 for one in ratios)
            print(
                f"{len(ratios)} of {jobs} jobs waited; the median of estimate / truth is ", end=""
            )
            print(f"{statistics.median(ratios):.2f}; within 30 %: {good / len(ratios):.0%}")
        finally:
            for worker in workers:
                worker.kill_all()
            service.kill_all()
            await redis.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    uvloop.run(measure(parser.parse_args().jobs))
