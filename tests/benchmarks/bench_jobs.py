"""Jobs per second end to end, as a ratio to a raw redis-py script in the same run.

    python -m tests.benchmarks.bench_jobs [--rounds 5] [--jobs 20000]

A job: one of 64 clients puts 256 bytes over HTTP into the input queue; a worker process (echo,
window 64) gets it and completes it; the client sees
the result on one watch of the sink and puts the next.
The raw script makes the same moves without any service, in one process.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

from client_sdk import AsyncQueueClient
from client_sdk.wire import names
from deploy.local.redis_server import RedisServer
from tests.benchmarks.raw_streams import run_jobs
from tests.running import TOKEN, QueueServiceProcess, WorkerProcess, service_env, worker_env

CLIENTS = 64
WINDOW = 64
PAYLOAD = b"x" * 256


class _Putter(asyncio.Protocol):
    """One client's connection: puts, and hears the request id."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._head = (
            f"POST /api/predict/svc HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: {TOKEN}\r\nContent-Length: {len(PAYLOAD)}\r\n\r\n"
        ).encode()
        self._answer: asyncio.Future[str] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def put(self) -> "asyncio.Future[str]":
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(self._head + PAYLOAD)
        return self._answer

    def data_received(self, data: bytes) -> None:
        assert self._answer is not None
        if not data.startswith(b"HTTP/1.1 200"):
            self._answer.set_exception(RuntimeError(repr(data)))
            return
        _, _, rest = data.partition(names.REQUEST_ID_HEADER.encode() + b": ")
        self._answer.set_result(rest[: rest.index(b"\r")].decode())


async def our_jobs(url: str, *, jobs: int) -> float:
    """Return the jobs per second through the queue service and a worker."""
    loop = asyncio.get_running_loop()
    arrived: dict[str, asyncio.Future[None]] = {}

    def arrival(request_id: str) -> "asyncio.Future[None]":
        # The result may come before the answer to the put does.
        return arrived.setdefault(request_id, loop.create_future())

    async with AsyncQueueClient(url, "svc", token=TOKEN) as queue:

        async def collect() -> None:
            async for frame in queue.sink.watch(auto_commit=True):
                arrival(frame.tags[names.REQUEST_ID_TAG]).set_result(None)

        async def client(putter: _Putter) -> None:
            for _ in range(jobs // CLIENTS):
                request_id = await putter.put()
                await arrival(request_id)
                del arrived[request_id]

        parts = urlsplit(url)
        address = (parts.hostname or "127.0.0.1", parts.port or 80)
        putters = [
            (await loop.create_connection(lambda: _Putter(url), *address))[1]
            for _ in range(CLIENTS)
        ]
        collecting = asyncio.create_task(collect())
        began = time.perf_counter()
        await asyncio.gather(*(client(putter) for putter in putters))
        seconds = time.perf_counter() - began
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
        for putter in putters:
            putter.transport.abort()
    return jobs // CLIENTS * CLIENTS / seconds


async def measure(rounds: int, jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder) / "redis")
        await redis.start()
        service = QueueServiceProcess(
            service_env(redis_url=redis.url, key_prefix="bench", services=[{"name": "svc"}]),
            log_path=Path(folder) / "service.log",
        )
        worker = WorkerProcess(
            worker_env(queue_url=service.url, service="svc", worker_threads=WINDOW),
            log_path=Path(folder) / "worker.log",
        )
        try:
            await service.start()
            await worker.start()
            ratios = []
            print(f"{'round':>5} {'raw script/s':>13} {'jobs/s':>8} {'ratio':>6}")
            for number in range(rounds + 1):
                raw = await run_jobs(
                    redis.url, clients=CLIENTS, jobs=jobs, window=WINDOW, payload=PAYLOAD
                )
                ours = await our_jobs(service.url, jobs=jobs)
                if number == 0:
                    continue  # everybody warms up
                ratios.append(ours / raw)
                print(f"{number:>5} {raw:>13,.0f} {ours:>8,.0f} {ratios[-1]:>6.2f}")
            print(f"jobs end to end: {statistics.median(ratios):.2f} of the raw script (median)")
        finally:
            worker.kill_all()
            service.kill_all()
            await redis.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=20_000)
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.rounds, arguments.jobs))
