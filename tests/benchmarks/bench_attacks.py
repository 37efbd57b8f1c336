"""How long the puts of a client that means well take while others attack the service.

    python -m tests.benchmarks.bench_attacks [--seconds 5]

For each attack: a stretch without it, a stretch with it, and the ratio of the two p99s; so a
machine that changes its speed changes both.  The memory is that of the queue service's process.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from client_sdk import AsyncQueueClient
from deploy.local.redis_server import RedisServer
from tests.attacks.strangers import rss_kb
from tests.benchmarks.attackers import ATTACKS, READY
from tests.running import TOKEN, QueueServiceProcess, service_env
from tests.waiting import pace

PAYLOAD = b"x" * 256
#: Between two puts, in seconds: about a hundred a second, which leaves the service room.
PAUSE_S = 0.01
#: What a silent watch could be sent, if it read.
FULL = 200
FULL_BYTES = 1024 * 1024


async def measure(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder) / "redis", appendfsync="everysec")
        await redis.start()
        full = {"name": "full", "memory": 2000, "input": {"max_payload_size_kb": 1024}}
        env = service_env(redis_url=redis.url, key_prefix="bench", services=[{"name": "svc"}, full])
        service = QueueServiceProcess(env, log_path=Path(folder) / "service.log")
        await service.start()
        try:
            await _fill(service)
            print(
                f"{'attack':<20}{'p50 without':>14}{'with':>9}{'p99 without':>14}{'with':>9}"
                f"{'ratio':>8}{'memory before':>16}{'with':>9}"
            )
            for name in ATTACKS:
                await _compare(service, name, seconds)
        finally:
            await service.stop()
            await redis.stop()


async def _fill(service: QueueServiceProcess) -> None:
    async with AsyncQueueClient(service.url, "full", token=TOKEN) as client:
        for _ in range(FULL):
            await client.put(bytes(FULL_BYTES))


async def _compare(service: QueueServiceProcess, name: str, seconds: float) -> None:
    quiet = await _put_latencies(service, seconds)
    before_kb = rss_kb(service)
    attacker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.attackers",
        name,
        str(service.port),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert attacker.stdout is not None
        line = await attacker.stdout.readline()
        assert line.decode().strip() == READY, "the attacker did not get in place"
        busy = await _put_latencies(service, seconds)
        after_kb = rss_kb(service)
    finally:
        attacker.kill()
        await attacker.wait()
    (p50, p99), (busy_p50, busy_p99) = _percentiles(quiet), _percentiles(busy)
    print(
        f"{name:<20}{p50:>11.2f} ms{busy_p50:>6.2f} ms{p99:>11.2f} ms{busy_p99:>6.2f} ms"
        f"{busy_p99 / p99:>8.2f}{before_kb / 1024:>12,.0f} MiB{after_kb / 1024:>5,.0f} MiB",
        flush=True,
    )


async def _put_latencies(service: QueueServiceProcess, seconds: float) -> list[float]:
    took = []
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            await client.put(PAYLOAD)
            took.append(time.perf_counter() - began)
            await pace(PAUSE_S)
    return took


def _percentiles(took: list[float]) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds."""
    cuts = statistics.quantiles(took, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    uvloop.run(measure(parser.parse_args().seconds))
