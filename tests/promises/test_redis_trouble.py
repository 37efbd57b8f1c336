"""Redis refuses, forgets, freezes or is full: what was accepted is answered all the same."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from client_sdk.wire import names
from deploy.local.redis_server import RedisServer
from tests.conftest import StartService
from tests.promises.conftest import Client, Peers, Watchers
from tests.waiting import hold_for, wait_until


@pytest.fixture
async def redis(own_redis: RedisServer) -> AsyncIterator[Redis]:
    client = Redis.from_url(own_redis.url, decode_responses=True)
    yield client
    await client.aclose()


async def test_an_answer_that_redis_refuses_is_not_left_undecided(
    start_service: StartService, own_redis: RedisServer, redis: Redis, client: Client, peers: Peers
) -> None:
    service = await start_service(redis_url=own_redis.url)
    client.url = service.url
    peer = peers.make(1)
    await peer.connect(service.url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in peer.held, "the worker works")
    delivery = peer.held[index]
    await redis.config_set("min-replicas-to-write", 1)
    await peer.complete(index)

    await wait_until(lambda: peer.close_code is not None, "the worker is notified")

    await redis.config_set("min-replicas-to-write", 0)
    await peer.cut()
    peer.held[index] = delivery
    assert (await peer.connect(service.url)).lost == ()
    await peer.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "the result is stored")
    await client.truncate("/sink")


async def test_a_put_that_redis_refuses_is_a_store_that_is_away(
    start_service: StartService, own_redis: RedisServer, redis: Redis, client: Client
) -> None:
    service = await start_service(redis_url=own_redis.url)
    address = f"{service.url}{names.EAS_PREFIX}/svc"
    await redis.config_set("min-replicas-to-write", 1)
    async with client.session.post(address, data=b"x") as answer:
        assert answer.status == 503, await answer.text()
    await redis.config_set("min-replicas-to-write", 0)
    await redis.config_set("maxmemory", 1)
    async with client.session.post(address, data=b"x") as answer:
        assert answer.status == 503, await answer.text()
    await redis.config_set("maxmemory", 0)
    async with client.session.post(address, data=b"x") as answer:
        assert answer.status == 200
    client.url = service.url
    await client.truncate()


async def test_a_redis_that_is_full_takes_no_puts_and_is_still_emptied(
    *,
    start_service: StartService,
    own_redis: RedisServer,
    redis: Redis,
    client: Client,
    peers: Peers,
    watchers: Watchers,
) -> None:
    service = await start_service(redis_url=own_redis.url, lease_ms=2000)
    client.url = service.url
    peer = peers.make(2)
    await peer.connect(service.url)
    for _ in range(6):
        await client.put(b"x")
    await wait_until(lambda: len(peer.held) == 2, "the worker works")
    await redis.config_set("maxmemory", 1)
    try:
        async with client.session.post(f"{service.url}{names.EAS_PREFIX}/svc", data=b"x") as answer:
            assert answer.status == 503, await answer.text()

        await peer.complete(*peer.held)
        await wait_until(lambda: len(peer.handed) == 4, "the next two come")
        await peer.complete(*peer.held)
        await wait_until(lambda: len(peer.handed) == 6, "and the last two")
        # What it holds goes to another when it dies.
        await peer.vanish()
        await peer.connect(service.url)
        await wait_until(lambda: len(peer.held) == 2, "they come again")
        await peer.complete(*peer.held)
        await wait_until(lambda: client.has_length(6, "/sink"), "all are answered")
        assert len(await client.read(3)) == 3
        watcher = watchers.make(service.url, queue="/sink")
        await watcher.watch()
        await wait_until(lambda: len(watcher.frames) == 3, "the sink is watched")
        await watcher.commit(*watcher.indexes)
        assert await client.length("/sink") == 0
    finally:
        await redis.config_set("maxmemory", 0)


async def test_a_redis_that_forgets_everything_is_served_again(
    *,
    start_service: StartService,
    own_redis: RedisServer,
    redis: Redis,
    client: Client,
    peers: Peers,
    watchers: Watchers,
) -> None:
    service = await start_service(redis_url=own_redis.url, lease_ms=1500)
    client.url = service.url
    peer, watcher = peers.make(2), watchers.make(service.url, queue="/sink")
    await peer.connect(service.url)
    await watcher.watch()
    await client.put(b"x")
    await wait_until(lambda: len(peer.held) == 1, "the worker works")
    await redis.flushall()
    await redis.script_flush()

    await wait_until(lambda: peer.close_code is not None, "the worker is notified")
    await wait_until(lambda: not watcher.connected, "so is the watcher")
    await peer.cut()
    assert len((await peer.connect(service.url)).lost) == 1
    await watcher.close()
    await watcher.watch()
    await client.put(b"y")
    await wait_until(lambda: len(peer.held) == 1, "the worker works again")
    await peer.complete(*peer.held)
    await wait_until(lambda: len(watcher.frames) == 1, "the result comes")
    await watcher.commit(*watcher.indexes)


async def test_a_redis_that_freezes_for_three_seconds_loses_nobody_and_nothing(
    start_service: StartService, own_redis: RedisServer, client: Client, peers: Peers
) -> None:
    service = await start_service(redis_url=own_redis.url, lease_ms=2500)
    client.url = service.url
    peer = peers.make(2)
    await peer.connect(service.url)
    await client.put(b"x")
    await wait_until(lambda: len(peer.held) == 1, "the worker works")
    os.kill(own_redis.pid, signal.SIGSTOP)
    await hold_for(3.0, lambda: True, "Redis is frozen")
    putting = asyncio.create_task(client.put(b"y"))
    os.kill(own_redis.pid, signal.SIGCONT)
    await putting

    await wait_until(lambda: len(peer.held) == 2, "the next one arrives")
    await peer.complete(*peer.held)
    await wait_until(lambda: len(peer.outcomes) == 2, "both are answered")
    assert all(outcome.accepted for outcome in peer.outcomes)
    assert [delivery.attempt for delivery in peer.handed] == [1, 1]
    await client.truncate("/sink")
