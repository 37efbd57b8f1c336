"""What each verb costs with a million waiting entries, as a ratio to a thousand.

    python -m tests.benchmarks.bench_depth [--deep 1000000] [--rounds 300]

One client asks one thing after the other, so these are latencies over HTTP: medians, of a service
with a short line and of one with a long line in the same process, asked in turn.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from redis.asyncio import Redis

from client_sdk import AsyncQueueClient, WorkConnection
from client_sdk.wire import names
from client_sdk.wire.worker import Completion, Delivery, Result
from deploy.local.redis_server import RedisServer
from tests.benchmarks.http_load import Load, encode_post
from tests.running import TOKEN, QueueServiceProcess, service_env

SHALLOW = 1000
PAYLOAD = b"x" * 256
#: Connections that put while the line is made.
FILLERS = 64

Verb = Callable[[], Awaitable[object]]


async def measure(deep: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder) / "redis", appendfsync="everysec")
        await redis.start()
        wide = {"input": {"max_length": 2 * deep}, "memory": 8000}
        env = service_env(
            redis_url=redis.url,
            key_prefix="bench",
            services=[{"name": name, **wide} for name in ("short", "long")],
        )
        service = QueueServiceProcess(env, log_path=Path(folder) / "service.log")
        await service.start()
        try:
            async with (
                AsyncQueueClient(service.url, "short", token=TOKEN) as short,
                AsyncQueueClient(service.url, "long", token=TOKEN) as long,
            ):
                await _fill(service.url, "short", SHALLOW)
                empty = await _used_memory(redis.url)
                await _fill(service.url, "long", deep)
                each = (await _used_memory(redis.url) - empty) / deep
                await _compare(short, long, service.url, rounds)
            print(f"memory of Redis: {each:,.0f} bytes an entry, of which {len(PAYLOAD)} its data")
        finally:
            await service.stop()
            await redis.stop()


async def _compare(short: AsyncQueueClient, long: AsyncQueueClient, url: str, rounds: int) -> None:
    """Time each verb at both lines in turn."""
    lengths = [await client.count() for client in (short, long)]
    print(f"{'verb':<24}{lengths[0]:>12,} in line{lengths[1]:>14,} in line   ratio")
    async with (
        WorkConnection(url, "short", token=TOKEN, window=1) as few,
        WorkConnection(url, "long", token=TOKEN, window=1) as many,
    ):
        at_short, at_long = await _verbs(short, few, rounds), await _verbs(long, many, rounds)
        for verb, do_short in at_short.items():
            before_s, after_s = await _medians((do_short, at_long[verb]), rounds)
            ratio = after_s / before_s
            print(f"{verb:<24}{before_s * 1e3:>17.2f} ms{after_s * 1e3:>19.2f} ms   {ratio:.2f}")


async def _fill(url: str, service: str, count: int) -> None:
    address = f"{url}{names.EAS_PREFIX}/{service}"
    post = encode_post(address, PAYLOAD, token=TOKEN)
    await Load(address, post, connections=min(FILLERS, count), total=count).run()


async def _verbs(
    client: AsyncQueueClient, connection: WorkConnection, rounds: int
) -> dict[str, Verb]:
    """What is timed; each can be done `rounds` times."""
    receipts = [await client.put(PAYLOAD) for _ in range(rounds)]
    last = iter([receipt.index for receipt in receipts])
    newest = iter(receipts)
    return {
        "put": lambda: client.put(PAYLOAD),
        "search": lambda: client.search(next(last)),
        "get by request id": lambda: client.get(request_id=next(newest).request_id),
        "get of the oldest": client.get,
        "attributes": client.attributes,
        "complete and deliver": lambda: _work(connection),
    }


async def _work(connection: WorkConnection) -> None:
    delivery = await anext(connection)
    assert isinstance(delivery, Delivery)
    await connection.complete(Completion(delivery.index, delivery.attempt, Result(b"done")))


async def _medians(verbs: tuple[Verb, Verb], rounds: int) -> list[float]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for verb, took in zip(verbs, seconds, strict=True):
            began = time.perf_counter()
            await verb()
            took.append(time.perf_counter() - began)
    return [statistics.median(took) for took in seconds]


async def _used_memory(redis_url: str) -> int:
    async with Redis.from_url(redis_url) as redis:
        return int((await redis.info("memory"))["used_memory"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deep", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.deep, arguments.rounds))
