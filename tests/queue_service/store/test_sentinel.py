"""Three sentinels, a master and a replica: the master dies or hangs under load."""

from dataclasses import dataclass

import pytest

from tests.conftest import StartService, StartWorker
from tests.promises.conftest import Client
from tests.queue_service.store.conftest import MakeNode
from tests.queue_service.store.load import Load
from tests.queue_service.store.node import Node, say
from tests.waiting import wait_until

PASSWORD, SENTINEL_PASSWORD = "of-redis", "of-the-sentinels"
#: Silence after which a sentinel calls a master dead, in ms.
DOWN_MS = 800
#: Seconds until a failover must be over; a busy machine takes its time.
FAILOVER_S = 30.0


@dataclass
class Guarded:
    """Servers and the sentinels that watch them."""

    servers: list[Node]
    sentinels: list[Node]

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://:{PASSWORD}@{places}/primary"

    async def master(self) -> Node:
        """Return the server that the sentinels name."""
        async with self.sentinels[0].client() as redis:
            _, port = await say(redis, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "primary")
        return next(server for server in self.servers if server.port == int(port))

    async def another_than(self, old: Node) -> Node:
        """Wait until the sentinels name another one, and return it."""

        async def another() -> Node | None:
            now = await self.master()
            return now if now is not old else None

        return await wait_until(another, "a replica has taken over", FAILOVER_S)

    async def pair(self) -> tuple[Node, Node]:
        """Wait until the master has a replica that has caught up; return both.

        Where the machine is busy the sentinels may have changed their minds meanwhile.
        """

        async def both() -> tuple[Node, Node] | None:
            master = await self.master()
            (replica,) = (server for server in self.servers if server is not master)
            return (master, replica) if await self.follows(replica) else None

        found: tuple[Node, Node] = await wait_until(both, "a replica has caught up", FAILOVER_S)
        return found

    async def follows(self, node: Node) -> bool:
        """Say whether this server is a replica that has caught up."""
        async with node.client() as redis:
            found: dict[str, str] = await redis.info("replication")
        return found["role"] == "slave" and found["master_link_status"] == "up"


@pytest.fixture
async def guarded(make_node: MakeNode) -> Guarded:
    master = await make_node(password=PASSWORD).start()
    replica = await make_node(f"replicaof 127.0.0.1 {master.port}", password=PASSWORD).start()
    sentinels = [
        await make_node(
            f"sentinel monitor primary 127.0.0.1 {master.port} 2",
            f"sentinel auth-pass primary {PASSWORD}",
            f"sentinel down-after-milliseconds primary {DOWN_MS}",
            "sentinel failover-timeout primary 1500",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            sentinel=True,
            password=SENTINEL_PASSWORD,
        ).start()
        for _ in range(3)
    ]
    made = Guarded([master, replica], sentinels)

    async def all_know_all() -> bool:
        for sentinel in sentinels:
            async with sentinel.client() as redis:
                reply = await say(redis, "SENTINEL", "MASTER", "primary")
            state = dict(zip(reply[::2], reply[1::2], strict=True))
            assert (state["num-slaves"], state["num-other-sentinels"]) == ("1", "2")
        return await made.follows(replica)

    await wait_until(all_know_all, "the sentinels know each other and both servers", FAILOVER_S)
    return made


@pytest.mark.timeout(180)
async def test_a_master_that_dies_or_hangs_under_load_loses_nothing_that_was_replicated(
    *,
    guarded: Guarded,
    start_service: StartService,
    start_worker: StartWorker,
    client: Client,
) -> None:
    service = await start_service(
        redis_url=guarded.url,
        redis_sentinel_password=SENTINEL_PASSWORD,
        durability="replicated",
        durability_timeout_ms=300,
        store_timeout_s=1,
        lease_ms=3000,
    )
    client.url = service.url
    await start_worker(service.url)
    load = Load(client)
    await load.flows()

    # It dies, and comes back as the replica of its successor: without one nothing is confirmed.
    first = await guarded.master()
    await first.kill()
    await guarded.another_than(first)
    await first.start()
    await load.flows()

    # The master of then hangs, and wakes up still believing that it is the master.
    hanging, replica = await guarded.pair()
    hanging.freeze()
    assert await guarded.another_than(hanging) is replica
    hanging.thaw()
    await load.flows()

    await load.check()
    assert load.refusals.total() > 0, "puts were refused meanwhile"
    await wait_until(service.ready, "the service is ready")
    assert service.log.count("The store answers again") >= 2


@pytest.mark.timeout(120)
async def test_in_memory_a_failover_needs_nobody(
    guarded: Guarded, start_service: StartService, start_worker: StartWorker, client: Client
) -> None:
    """Without waiting for replicas the service goes on as soon as there is a master."""
    service = await start_service(
        redis_url=guarded.url,
        redis_sentinel_password=SENTINEL_PASSWORD,
        store_timeout_s=1,
        lease_ms=3000,
    )
    client.url = service.url
    await start_worker(service.url)
    first = await guarded.master()
    # A load that is at rest while the master dies has nothing to lose.
    before = Load(client, name="before")
    await before.flows(20)
    await before.check()
    await wait_until(lambda: guarded.follows(guarded.servers[1]), "the replica has all of it")

    await first.kill()
    after = Load(client, name="after")
    await after.flows(20)
    await after.check()
    await first.start()


async def test_sentinels_that_do_not_know_the_name_are_said_so(
    guarded: Guarded, start_service: StartService
) -> None:
    url = guarded.url.replace("/primary", "/secondary")
    service = await start_service(
        redis_url=url, redis_sentinel_password=SENTINEL_PASSWORD, wait=False
    )
    await wait_until(
        lambda: "expected a sentinel that knows where 'secondary' is" in service.log, "it says so"
    )
    assert SENTINEL_PASSWORD not in service.log
    assert PASSWORD not in service.log
