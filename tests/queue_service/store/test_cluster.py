"""A Redis Cluster of three masters: services in each, a slot that moves, a master that dies."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisError

from queue_service.store.keys import Keys
from tests.conftest import StartService, StartWorker
from tests.promises.conftest import Client
from tests.queue_service.store.conftest import MakeNode
from tests.queue_service.store.load import Load
from tests.queue_service.store.node import Node, say
from tests.waiting import hold_for, wait_until

SLOTS = 16384
MASTERS = 3
#: Silence after which the others call a node dead, in ms.
NODE_TIMEOUT_MS = 1500
FAILOVER_S = 30.0


@dataclass
class Clustered:
    """A cluster; the first three nodes begin as its masters."""

    nodes: list[Node]

    def replica_of(self, master: Node) -> Node:
        """Return the replica that a master began with."""
        return self.nodes[MASTERS + self.nodes.index(master)]

    @property
    def url(self) -> str:
        # Two of them are enough: the others are found.
        places = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        return f"redis+cluster://{places}"

    async def owner(self, slot: int, *, asked: Node) -> Node | None:
        """Return the master of a slot, as one node sees it."""
        async with asked.client() as redis:
            for first, last, master, *_ in await say(redis, "CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(node for node in self.nodes if node.port == master[1])
        return None

    async def begin_to_move(self, slot: int, to: Node) -> Node:
        """Open a slot at both ends; return where it comes from."""
        source = await self.owner(slot, asked=to)
        assert source is not None
        async with source.client() as giving, to.client() as taking:
            giver, taker = (
                await say(giving, "CLUSTER", "MYID"),
                await say(taking, "CLUSTER", "MYID"),
            )
            await say(taking, "CLUSTER", "SETSLOT", slot, "IMPORTING", giver)
            await say(giving, "CLUSTER", "SETSLOT", slot, "MIGRATING", taker)
        return source

    async def end_the_move(self, slot: int, source: Node, to: Node) -> None:
        """Move every key of the slot, and then the slot."""
        async with source.client() as giving, to.client() as taking:
            taker = await say(taking, "CLUSTER", "MYID")
            while keys := await say(giving, "CLUSTER", "GETKEYSINSLOT", slot, 5):
                await say(giving, "MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
            for redis in (taking, giving):
                await say(redis, "CLUSTER", "SETSLOT", slot, "NODE", taker)


@pytest.fixture
async def clustered(make_node: MakeNode) -> Clustered:
    """Make three masters, which share the slots evenly, and a replica of each."""
    nodes = [
        make_node(
            "cluster-enabled yes",
            f"cluster-node-timeout {NODE_TIMEOUT_MS}",
            "cluster-replica-validity-factor 0",
            "cluster-require-full-coverage no",
            "appendfsync no",
        )
        for _ in range(2 * MASTERS)
    ]
    await asyncio.gather(*(node.start() for node in nodes))
    ids = []
    for number, node in enumerate(nodes):
        async with node.client() as redis:
            ids.append(await say(redis, "CLUSTER", "MYID"))
            await say(redis, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < MASTERS:
                slots = range(SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS)
                await say(redis, "CLUSTER", "ADDSLOTS", *slots)
            if number > 0:
                await say(redis, "CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
    for number, node in enumerate(nodes[MASTERS:]):
        await wait_until(partial(follows, node, ids[number]), "it follows its master", FAILOVER_S)
    for node in nodes:
        await wait_until(partial(knows_all, node), "it knows the whole cluster", FAILOVER_S)
    return Clustered(nodes)


async def follows(node: Node, master_id: str) -> bool:
    """Make a node the replica of a master; say whether it knows that one yet, and follows it."""
    async with node.client() as redis:
        with suppress(RedisError):
            await say(redis, "CLUSTER", "REPLICATE", master_id)
        found: dict[str, str] = await redis.info("replication")
    return found["role"] == "slave" and found["master_link_status"] == "up"


async def knows_all(node: Node) -> bool:
    """Say whether a node sees every slot served by a master with a replica."""
    async with node.client() as redis:
        ranges = await say(redis, "CLUSTER", "SLOTS")
    return len(ranges) == MASTERS and all(len(one) == 4 for one in ranges)


def slot_of(prefix: str, service: str) -> int:
    return key_slot(Keys(prefix, service).queue("input")[0].encode())


def one_service_for_each_master(prefix: str) -> list[str]:
    """Return names of services whose slots lie with the first, the second and the third master."""
    names: dict[int, str] = {}
    for number in range(1000):
        name = f"svc{number}"
        names.setdefault(slot_of(prefix, name) * MASTERS // SLOTS, name)
    return [names[number] for number in range(MASTERS)]


@pytest.mark.timeout(240)
async def test_services_are_spread_and_survive_a_slot_that_moves_and_a_master_that_dies(
    *,
    clustered: Clustered,
    start_service: StartService,
    start_worker: StartWorker,
    client: Client,
    key_prefix: str,
) -> None:
    names = one_service_for_each_master(key_prefix)
    services: list[dict[str, object]] = [{"name": name} for name in names]
    service = await start_service(
        *services,
        redis_url=clustered.url,
        durability="replicated",
        durability_timeout_ms=500,
        store_timeout_s=2,
        lease_ms=4000,
    )
    client.url = service.url
    for name in names:
        await start_worker(service.url, name)
    loads = [Load(client, name, putters=2) for name in names]

    async def all_flow() -> None:
        await asyncio.gather(*(load.flows(20) for load in loads))

    await all_flow()
    for node in clustered.nodes[:MASTERS]:
        async with node.client() as redis:
            assert await redis.dbsize() > 0, "every master has a service"

    # A slot moves there and back while its service is at work.
    slot = slot_of(key_prefix, names[1])
    for to in (clustered.nodes[2], clustered.nodes[1]):
        source = await clustered.begin_to_move(slot, to)
        await clustered.end_the_move(slot, source, to)
        await all_flow()

    dying = clustered.nodes[0]
    successor = clustered.replica_of(dying)
    slot = slot_of(key_prefix, names[0])
    await dying.kill()

    async def has_taken_over() -> bool:
        return await clustered.owner(slot, asked=clustered.nodes[1]) is successor

    await wait_until(has_taken_over, "the replica has taken over", FAILOVER_S)
    # Nothing is confirmed until the new master has a replica too: the old one, once it is back.
    await dying.start()
    await all_flow()

    for load in loads:
        await load.check()
    assert loads[0].refusals.total() > 0, "puts were refused meanwhile"


@pytest.mark.timeout(120)
async def test_a_put_waits_for_the_move_of_its_slot(
    clustered: Clustered, start_service: StartService, client: Client, key_prefix: str
) -> None:
    service = await start_service(redis_url=clustered.url)
    client.url = service.url
    await client.put(b"before")
    slot = slot_of(key_prefix, "svc")
    masters = clustered.nodes[:MASTERS]
    owner = await clustered.owner(slot, asked=masters[0])
    to = next(node for node in masters if node is not owner)

    source = await clustered.begin_to_move(slot, to)
    putting = asyncio.create_task(client.put(b"meanwhile"))
    await hold_for(0.3, lambda: not putting.done(), "neither node takes it")
    await clustered.end_the_move(slot, source, to)

    await putting
    assert [frame.data for frame in await client.read(9, queue="")] == [b"before", b"meanwhile"]


async def test_a_node_of_a_cluster_is_not_taken_for_one_server(
    clustered: Clustered, start_service: StartService
) -> None:
    node = clustered.nodes[0]
    service = await start_service(redis_url=node.url, wait=False)
    await wait_until(lambda: "its URL begins with redis+cluster://" in service.log, "it says so")
