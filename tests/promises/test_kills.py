"""Promises 1 and 4 under kills: a replica dies, Redis dies, a job is longer than any lease."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from client_sdk.wire import names
from deploy.local.redis_server import RedisServer
from tests.conftest import StartService, StartWorker
from tests.promises.conftest import Client, Peers
from tests.waiting import LATE_S, wait_until

LEASE_MS = 2000


async def test_a_killed_replicas_deliveries_are_with_the_other_within_a_lease_and_a_second(
    start_service: StartService, client: Client, peers: Peers
) -> None:
    dying = await start_service(lease_ms=LEASE_MS)
    staying = await start_service(lease_ms=LEASE_MS)
    client.url = staying.url
    lost, kept = peers.make(3), peers.make(3)
    await lost.connect(dying.url)
    for _ in range(3):
        await client.put(b"x")
    await wait_until(lambda: len(lost.held) == 3, "the first has all three")
    await kept.connect(staying.url)

    dying.kill()
    killed_at = time.monotonic()
    await wait_until(lambda: len(kept.held) == 3, "the other has all three")

    assert time.monotonic() - killed_at < LEASE_MS / 1000 + 1.0 + LATE_S
    assert [delivery.attempt for delivery in kept.handed] == [2, 2, 2]
    await kept.complete(*kept.held)
    await wait_until(lambda: len(kept.outcomes) == 3, "the results are stored")
    assert len(await client.read(10)) == 3


async def test_a_worker_whose_replica_was_killed_keeps_what_it_works_on(
    start_service: StartService, client: Client, peers: Peers
) -> None:
    dying = await start_service(lease_ms=LEASE_MS)
    staying = await start_service(lease_ms=LEASE_MS)
    client.url = staying.url
    peer = peers.make(2)
    await peer.connect(dying.url)
    await client.put(b"x")
    await wait_until(lambda: len(peer.held) == 1, "it works")

    dying.kill()
    await peer.cut()
    welcome = await peer.connect(staying.url)

    assert welcome.lost == ()
    await peer.complete(*peer.held)
    await wait_until(lambda: len(peer.outcomes) == 1, "its answer is heard")
    assert peer.outcomes[0].accepted
    assert len(peer.handed) == 1
    assert len(await client.read(10)) == 1


async def test_a_job_of_three_leases_is_delivered_once(
    start_service: StartService, start_worker: StartWorker, client: Client
) -> None:
    service = await start_service(lease_ms=700)
    client.url = service.url
    for _ in range(2):
        await start_worker(service.url, engine_options={"delay_s": 3 * 0.7})
    _, request_id = await client.put(b"long")

    async def answered() -> bool:
        return await client.length("/sink") == 1

    await wait_until(answered, "the long job is done")
    (frame,) = await client.read(10)
    assert frame.tags[names.REQUEST_ID_TAG] == request_id
    address = f"{service.url}/metrics"
    async with client.session.get(
        address, headers={"Authorization": service.env["PENSTOCK_ADMIN_TOKEN"]}
    ) as answer:
        metrics = await answer.text()
    assert 'penstock_queue_deliveries_total{queue="input",service="svc"} 1.0' in metrics
    assert 'penstock_queue_stale_answers_total{queue="input",service="svc"} 0.0' in metrics


@pytest.mark.timeout(120)
async def test_redis_killed_under_load_loses_nothing_that_was_accepted(
    start_service: StartService, start_worker: StartWorker, client: Client, tmp_path: Path
) -> None:
    redis = RedisServer(tmp_path / "redis")
    await redis.start()
    try:
        service = await start_service(redis_url=redis.url, lease_ms=LEASE_MS)
        client.url = service.url
        for _ in range(2):
            await start_worker(service.url, engine_options={"delay_s": 0.01})
        accepted: list[str] = []
        stop = asyncio.Event()

        async def put_for_ever(number: int) -> None:
            count = 0
            while not stop.is_set():
                request_id = f"{number}-{count}"
                query = {names.REQUEST_ID_TAG: request_id}
                try:
                    await client.put(request_id.encode(), **query)
                except (AssertionError, aiohttp.ClientError):
                    # Refused while Redis is away: not accepted, so ask again for the same.
                    await asyncio.wait({stopping}, timeout=0.05)
                    continue
                accepted.append(request_id)
                count += 1

        stopping = asyncio.create_task(stop.wait())
        putting = [asyncio.create_task(put_for_ever(number)) for number in range(4)]

        async def work_flows() -> None:
            before = len(accepted)
            await wait_until(lambda: len(accepted) > before + 100, "a hundred more are in")

        for _ in range(2):
            await work_flows()
            await redis.kill()
            await redis.restart()
        await work_flows()
        stop.set()
        await asyncio.gather(stopping, *putting)

        async def drained() -> bool:
            return await client.length() == 0

        await wait_until(drained, "every accepted entry was answered")
        results: Counter[str] = Counter()
        while frames := await client.read(1000):
            results.update(frame.tags[names.REQUEST_ID_TAG] for frame in frames)
        # What was stored though its answer got lost was put again under the same id, once.
        assert results == Counter(accepted)
    finally:
        await redis.stop()


async def test_an_outage_does_not_lengthen_the_grace_of_a_closed_connection(
    start_service: StartService,
    client: Client,
    peers: Peers,
    redis_url: str,
    key_prefix: str,
) -> None:
    service = await start_service(lease_ms=30_000, tick_ms=60_000)
    client.url = service.url
    leaving, other = peers.make(1), peers.make(1)
    await leaving.connect(service.url)
    await client.put(b"x")
    await wait_until(lambda: len(leaving.held) == 1, "it works")
    await other.connect(service.url)

    async with Redis.from_url(redis_url) as redis:
        # As if nobody had looked at the leases for ages.
        await redis.hset(f"{key_prefix}:{{svc}}:input:meta", "looked", "1")
    await leaving.cut()

    await wait_until(lambda: len(other.held) == 1, "the other has it after the grace")
    await other.complete(*other.held)
    await wait_until(lambda: len(other.outcomes) == 1, "it is done")
    await client.truncate("/sink")
