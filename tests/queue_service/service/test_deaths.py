"""Which entries have killed engines, and what a worker tells of itself while it renews."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from redis.asyncio import Redis

from client_sdk import AsyncQueueClient
from client_sdk.wire.load import Load
from client_sdk.wire.worker import Completion, Delivery, Rejection, Result
from client_sdk.work import WorkConnection
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until


async def _next(connection: WorkConnection) -> Delivery:
    event = await anext(connection)
    assert isinstance(event, Delivery)
    return event


@asynccontextmanager
async def _worker(url: str, uid: str, load: Load | None = None) -> AsyncIterator[WorkConnection]:
    async with WorkConnection(
        url, "svc", token=TOKEN, uid=uid, window=1, load=lambda: load
    ) as connection:
        await connection.wait_connected()
        yield connection


async def _die(connection: WorkConnection, delivery: Delivery, code: str = "EngineDied") -> None:
    outcome = await connection.reject(Rejection(delivery.index, delivery.attempt, code))
    assert outcome.accepted


async def test_a_delivery_tells_how_many_different_workers_engines_died_on_it(url: str) -> None:
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        await client.put(b"poison")
        async with _worker(url, "w1") as first:
            for attempt, deaths in ((1, 0), (2, 1)):
                delivery = await _next(first)
                assert (delivery.attempt, delivery.deaths) == (attempt, deaths)
                await _die(first, delivery)
            # The same worker once more: it counts once.
            delivery = await _next(first)
            assert delivery.deaths == 1
            await _die(first, delivery, "Shutdown")
        async with _worker(url, "w2") as second:
            delivery = await _next(second)
            assert delivery.deaths == 1
            await second.complete(Completion(delivery.index, delivery.attempt, Result(b"x")))
        (frame,) = await client.sink.get(timeout_s=5)
        assert frame.data == b"x"


async def test_other_failures_are_no_deaths(url: str) -> None:
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client, _worker(url, "w1") as worker:
        await client.put(b"job")
        await _die(worker, await _next(worker), "503")
        delivery = await _next(worker)
        assert delivery.deaths == 0
        await worker.complete(Completion(delivery.index, delivery.attempt, None))


async def test_an_entry_that_is_deleted_takes_its_deaths_along(
    url: str, redis_url: str, key_prefix: str
) -> None:
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client, _worker(url, "w1") as worker:
        receipt = await client.put(b"job")
        await _die(worker, await _next(worker))
        await _next(worker)
        await client.delete([receipt.index])
        async with Redis.from_url(redis_url) as redis:
            assert await redis.hgetall(f"{key_prefix}:{{svc}}:input:deliveries") == {}


async def test_a_workers_load_is_listed_with_its_service(serve: Serve) -> None:
    url = await serve(lease_ms=300)
    load = Load(running=3, waiting=1, limit=4, memory_bytes=5_000_000_000, gpu_utilization=0.5)
    headers = {"Authorization": ADMIN_TOKEN}

    async def listed() -> dict[str, Any]:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{url}/v1/services/svc") as answer,
        ):
            (subscriber,) = (await answer.json())["input"]["subscribers"]
        told: dict[str, Any] = subscriber["about"]
        assert told.get("load", {}).get("memory_bytes") == 5_000_000_000
        return told

    async with _worker(url, "w1", load):
        about = await wait_until(listed, "the load is listed")
    assert (about["kind"], about["load"]["running"], about["load"]["waiting"]) == ("worker", 3, 1)
