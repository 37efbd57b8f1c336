"""The bar for jobs end to end: the same moves on Redis streams, by a plain redis-py script.

What a good hand would write without a service: clients add to an input stream, a worker reads
a group in batches and, in one transaction each, adds to the output stream, acknowledges and
deletes; a collector reads the output stream, deletes, and tells the client.  No HTTP, no
windows, no leases, no limits, no request ids that can be found again.
"""

import asyncio
import time
from typing import Any

from redis.asyncio import Redis

_INPUT, _OUTPUT, _GROUP = "raw:input", "raw:output", "raw"


async def run_jobs(url: str, *, clients: int, jobs: int, window: int, payload: bytes) -> float:
    """Return the jobs per second."""
    redis = Redis.from_url(url, max_connections=clients + 4, protocol=2)
    await redis.delete(_INPUT, _OUTPUT)
    for stream in (_INPUT, _OUTPUT):
        await redis.xgroup_create(stream, _GROUP, id="0", mkstream=True)
    waiting: dict[bytes, asyncio.Future[None]] = {}
    helpers = [
        asyncio.create_task(_work(redis, window)),
        asyncio.create_task(_collect(redis, waiting)),
    ]

    async def client(number: int) -> None:
        for count in range(jobs // clients):
            name = b"%d-%d" % (number, count)
            done = waiting[name] = asyncio.get_running_loop().create_future()
            await redis.xadd(_INPUT, {"id": name, "data": payload})
            await done

    began = time.perf_counter()
    everybody = [asyncio.create_task(client(number)) for number in range(clients)]
    for helper in helpers:
        # One that fails would leave the clients waiting for ever.
        helper.add_done_callback(lambda _: [task.cancel() for task in everybody])
    await asyncio.gather(*everybody)
    seconds = time.perf_counter() - began
    for helper in helpers:
        helper.cancel()
    await asyncio.gather(*helpers, return_exceptions=True)
    await redis.aclose()
    return jobs // clients * clients / seconds


async def _work(redis: Redis, window: int) -> None:
    while not _cancelled():
        for _, entries in await _read(redis, _INPUT, window):
            pipeline = redis.pipeline(transaction=True)
            for index, fields in entries:
                pipeline.xadd(_OUTPUT, fields)
                pipeline.xack(_INPUT, _GROUP, index)
                pipeline.xdel(_INPUT, index)
            await pipeline.execute()


async def _collect(redis: Redis, waiting: dict[bytes, "asyncio.Future[None]"]) -> None:
    while not _cancelled():
        for _, entries in await _read(redis, _OUTPUT, 256):
            indexes = [index for index, _ in entries]
            pipeline = redis.pipeline(transaction=False)
            pipeline.xack(_OUTPUT, _GROUP, *indexes)
            pipeline.xdel(_OUTPUT, *indexes)
            await pipeline.execute()
            for _, fields in entries:
                waiting.pop(fields[b"id"]).set_result(None)


def _cancelled() -> bool:
    """Whether this task is to end; redis-py may swallow the cancellation itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _read(redis: Redis, stream: str, count: int) -> Any:
    return await redis.xreadgroup(_GROUP, "one", {stream: ">"}, count=count, block=1000)
