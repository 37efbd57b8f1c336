"""Puts per second over HTTP, as a ratio to a bare aiohttp handler in the same run.

    python -m tests.benchmarks.bench_puts [--rounds 5] [--puts 20000]

Both servers run as processes of their own on uvloop, and the same client loads one after the
other, round by round, so that a machine that changes its speed changes both.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import uvloop

from deploy.local.redis_server import RedisServer
from tests.benchmarks.http_load import Load, encode_post
from tests.running import TOKEN, QueueServiceProcess, ServerProcess, free_port, service_env

CONNECTIONS = 64
PAYLOAD = b"x" * 256


async def measure(rounds: int, puts: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder) / "redis")
        await redis.start()
        service = QueueServiceProcess(
            service_env(
                redis_url=redis.url,
                key_prefix="bench",
                services=[{"name": "svc"}],
            ),
            log_path=Path(folder) / "service.log",
        )
        port = free_port()
        bare = ServerProcess(
            ["-m", "tests.benchmarks.bare_server", str(port)],
            env={},
            log_path=Path(folder) / "bare.log",
            ready_url=f"http://127.0.0.1:{port}/readyz",
        )
        try:
            await service.start()
            await bare.start()
            await compare(service.url, f"http://127.0.0.1:{port}", rounds=rounds, puts=puts)
        finally:
            service.kill_all()
            bare.kill_all()
            await redis.stop()


async def compare(ours: str, bar: str, *, rounds: int, puts: int) -> None:
    ratios = []
    print(f"{'round':>5} {'bare handler/s':>15} {'puts/s':>10} {'ratio':>6}")
    for number in range(rounds + 1):
        speeds = []
        for url in (bar, ours):
            request = encode_post(f"{url}/api/predict/svc", PAYLOAD, token=TOKEN)
            load = Load(url, request, connections=CONNECTIONS, total=puts)
            speeds.append(await load.run())
        if number == 0:
            continue  # everybody warms up
        ratios.append(speeds[1] / speeds[0])
        print(f"{number:>5} {speeds[0]:>15,.0f} {speeds[1]:>10,.0f} {ratios[-1]:>6.2f}")
    print(f"puts: {statistics.median(ratios):.2f} of a bare aiohttp handler (median)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--puts", type=int, default=20_000)
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.rounds, arguments.puts))
