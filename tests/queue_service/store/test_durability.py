"""What an answer is worth: a put is promised when the disk or the replicas have it, or refused."""

import asyncio

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from tests.conftest import StartService, StartWorker
from tests.promises.conftest import Client, Peers
from tests.queue_service.store.binaries import binaries, newest_that
from tests.queue_service.store.conftest import MakeNode
from tests.queue_service.store.load import Load
from tests.queue_service.store.node import Node
from tests.waiting import wait_until


async def answer_of(client: Client, request_id: str) -> tuple[int, str, str]:
    """Put under a request id; give the status, the word and the sentence of the answer."""
    address = f"{client.url}{names.EAS_PREFIX}/svc"
    query = {names.REQUEST_ID_TAG: request_id}
    async with client.session.post(address, data=b"x", params=query) as answer:
        word = answer.headers.get(names.ERROR_CODE_HEADER, "")
        return answer.status, word, await answer.text()


async def with_replica(make_node: MakeNode, **options: object) -> tuple[Node, Node]:
    """Start a master and a replica that has caught up."""
    master = await make_node(**options).start()
    replica = await make_node(f"replicaof 127.0.0.1 {master.port}", **options).start()
    async with replica.client() as redis:

        async def caught_up() -> bool:
            return bool((await redis.info("replication"))["master_link_status"] == "up")

        await wait_until(caught_up, "the replica has caught up")
    return master, replica


async def test_a_put_that_no_replica_confirms_is_unknown_and_the_same_put_again_is_stored_once(
    make_node: MakeNode, start_service: StartService, client: Client
) -> None:
    master, replica = await with_replica(make_node)
    service = await start_service(
        redis_url=master.url, durability="replicated", durability_timeout_ms=200
    )
    client.url = service.url
    assert (await answer_of(client, "first"))[0] == 200
    replica.freeze()

    status, word, sentence = await answer_of(client, "second")
    assert (status, word) == (503, Code.OUTCOME_UNKNOWN)
    assert "expected that 1 replicas have it within 200 ms, got 0" in sentence
    # A repetition is no answer either: it promises what the first one could not.
    assert (await answer_of(client, "second"))[:2] == (503, Code.OUTCOME_UNKNOWN)

    replica.thaw()
    assert (await answer_of(client, "second"))[0] == 200
    async with replica.client() as redis:
        lane = f"{service.env['PENSTOCK_KEY_PREFIX']}:{{svc}}:input:lane:0"
        assert await redis.xlen(lane) == 2
    assert [frame.tags[names.REQUEST_ID_TAG] for frame in await client.read(9, queue="")] == [
        "first",
        "second",
    ]


async def test_a_result_that_no_replica_confirms_is_not_promised_to_its_worker(
    make_node: MakeNode, start_service: StartService, client: Client, peers: Peers
) -> None:
    master, replica = await with_replica(make_node)
    service = await start_service(
        redis_url=master.url, durability="replicated", durability_timeout_ms=200
    )
    client.url = service.url
    peer = peers.make(1)
    await peer.connect(service.url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in peer.held, "the worker works")
    delivery = peer.held[index]
    replica.freeze()

    await peer.complete(index)
    await wait_until(lambda: peer.close_code is not None, "the worker is told that nobody knows")
    assert peer.outcomes == []

    replica.thaw()
    await peer.cut()
    peer.held[index] = delivery
    # It was stored after all: the worker hears that there is nothing left to answer.
    assert [lost.index for lost in (await peer.connect(service.url)).lost] == [index]
    assert len(await client.read(9)) == 1


async def test_a_backlog_flows_though_the_ring_is_always_there_before_the_answer(
    make_node: MakeNode, start_service: StartService, start_worker: StartWorker, client: Client
) -> None:
    master, _ = await with_replica(make_node)
    # A wait for the next tick would last longer than this test.
    service = await start_service(
        redis_url=master.url, durability="replicated", durability_timeout_ms=2000, tick_ms=60_000
    )
    client.url = service.url
    for number in range(40):
        assert (await answer_of(client, str(number)))[0] == 200
    await start_worker(service.url, window=2)

    async def all_answered() -> bool:
        return await client.length("/sink") == 40

    await wait_until(all_answered, "all are answered")


async def test_with_fsync_a_put_is_answered_when_the_file_is_on_disk(
    make_node: MakeNode, start_service: StartService, client: Client
) -> None:
    binary = newest_that(can_wait_for_disk=True)
    node = await make_node("appendfsync no", binary=binary).start()
    service = await start_service(redis_url=node.url, durability="fsync", durability_timeout_ms=200)
    client.url = service.url
    # Nobody tells the disk to write, and nothing is promised.
    status, word, sentence = await answer_of(client, "first")
    assert (status, word) == (503, Code.OUTCOME_UNKNOWN)
    assert "expected that it is on disk within 200 ms, got 0 of 1" in sentence

    async with node.client() as redis:
        await redis.config_set("appendfsync", "always")
    assert (await answer_of(client, "first"))[0] == 200
    await node.kill()
    await node.start()
    await wait_until(service.ready, "the service has its Redis again")
    assert len(await client.read(9, queue="")) == 1


@pytest.mark.parametrize(
    ("line", "can_wait_for_disk"),
    [
        ("appendonly no", True),
        ("appendonly no", False),
        # A server with WAITAOF says itself when the disk has it.
        ("appendfsync everysec", False),
    ],
)
async def test_a_redis_that_cannot_promise_fsync_is_refused_at_the_start_and_later(
    *,
    make_node: MakeNode,
    start_service: StartService,
    client: Client,
    line: str,
    can_wait_for_disk: bool,
) -> None:
    binary = newest_that(can_wait_for_disk=can_wait_for_disk)
    node = await make_node(line, binary=binary).start()
    refused = await start_service(redis_url=node.url, durability="fsync", wait=False)
    await wait_until(lambda: not refused.running, "the service does not start")
    assert "setting durability: fsync: expected Redis" in refused.log
    assert "got no" in refused.log or "got yes and everysec" in refused.log
    name, good = ("appendonly", "yes") if "only" in line else ("appendfsync", "always")

    async with node.client() as redis:
        await redis.config_set(name, good)
        service = await start_service(redis_url=node.url, durability="fsync")
        client.url = service.url
        assert (await answer_of(client, "first"))[0] == 200
        await redis.config_set(name, line.split()[1])
        await redis.client_kill_filter(_type="normal", skipme=True)
        status, word, sentence = await answer_of(client, "second")
        assert (status, word) == (503, Code.STORE_UNAVAILABLE)
        assert "fsync: expected Redis" in sentence
        await redis.config_set(name, good)
        await wait_until(service.ready, "it is used again")
    await client.read(9, queue="")


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_redis_killed_idle_and_busy_loses_nothing_that_was_on_disk(
    *,
    make_node: MakeNode,
    start_service: StartService,
    start_worker: StartWorker,
    client: Client,
    appendfsync: str,
) -> None:
    # With `everysec` only a server that can be asked whether the disk has it will do.
    can_wait = appendfsync == "everysec" or any(one.can_wait_for_disk for one in binaries())
    binary = newest_that(can_wait_for_disk=can_wait)
    node = await make_node(f"appendfsync {appendfsync}", binary=binary).start()
    service = await start_service(redis_url=node.url, durability="fsync", lease_ms=2000)
    client.url = service.url
    # Many at once: with `everysec` every answer waits for the second's end.
    await start_worker(service.url, worker_threads=64)

    load = Load(client, putters=6)
    await load.flows(20)
    for _ in range(2):
        await node.kill()
        await node.start()
        await load.flows(20)
    await load.check()

    # Idle: no subscriber is lost, and the first put after it is served.
    await node.kill()
    await node.start()
    await wait_until(service.ready, "the service has its Redis again")
    after = Load(client, name="after")
    await after.flows(3)
    await after.check()


async def test_one_confirmation_serves_many_puts(
    make_node: MakeNode, start_service: StartService, client: Client
) -> None:
    master, _ = await with_replica(make_node)
    service = await start_service(redis_url=master.url, durability="replicated")
    client.url = service.url
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers=client.session.headers
    ) as session:
        many = Client(session, service.url)
        answers = await asyncio.gather(*(answer_of(many, str(number)) for number in range(200)))
    assert {status for status, *_ in answers} == {200}
    async with master.client() as redis:
        calls = (await redis.info("commandstats"))["cmdstat_wait"]["calls"]
    assert calls < 100
    await client.truncate()
