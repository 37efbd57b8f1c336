"""The main promises, on every Redis and Valkey that this machine has."""

from pathlib import Path

import pytest

from client_sdk.wire import names
from tests.conftest import StartService, StartWorker
from tests.promises.conftest import Client, Peers
from tests.queue_service.store.binaries import binary_at, programs
from tests.queue_service.store.conftest import MakeNode
from tests.queue_service.store.load import Load
from tests.waiting import wait_until


def _name(program: Path) -> str:
    """Name a test after the folder and the program: the version is known when it runs."""
    return "-".join(program.parts[-3:]).strip("/")


@pytest.mark.parametrize("program", programs(), ids=_name)
async def test_deliveries_and_single_results_are_right_on(
    *,
    program: Path,
    make_node: MakeNode,
    start_service: StartService,
    start_worker: StartWorker,
    client: Client,
    peers: Peers,
) -> None:
    node = await make_node(binary=binary_at(program)).start()
    service = await start_service(redis_url=node.url, lease_ms=1500)
    client.url = service.url

    # Priority first, one for each window, and a lost worker's delivery to the other.
    first, second = peers.make(1), peers.make(2)
    await first.connect(service.url)
    await client.put(b"early")
    await wait_until(lambda: len(first.held) == 1, "the first has it")
    await client.put(b"late")
    await client.put(b"urgent", **{names.PRIORITY: "1"})
    await second.connect(service.url)
    await wait_until(lambda: len(second.held) == 2, "the second has two")
    assert [delivery.data for delivery in second.handed] == [b"urgent", b"late"]
    await second.complete(*second.held)
    await first.vanish()
    await wait_until(lambda: len(second.held) == 1, "the second has what the first had")
    assert second.handed[-1].attempt == 2
    await second.complete(*second.held)
    await wait_until(lambda: client.has_length(3, "/sink"), "all are answered")

    # The same put twice is one entry; a deleting read takes each result once.
    once = {names.REQUEST_ID_TAG: "once"}
    assert await client.put(b"x", **once) == await client.put(b"x", **once)
    await wait_until(lambda: len(second.held) == 1, "it comes once")
    await second.reject(next(iter(second.held)))
    await wait_until(lambda: len(second.held) == 1, "and again when it was rejected")
    await second.complete(*second.held)
    await wait_until(lambda: client.has_length(4, "/sink"), "it is answered")
    assert len(await client.read(9)) == 4
    await second.cut()


@pytest.mark.parametrize("program", programs(), ids=_name)
async def test_a_kill_under_load_and_a_full_memory_lose_nothing_on(
    *,
    program: Path,
    make_node: MakeNode,
    start_service: StartService,
    start_worker: StartWorker,
    client: Client,
) -> None:
    node = await make_node(binary=binary_at(program)).start()
    service = await start_service(redis_url=node.url, lease_ms=1500)
    client.url = service.url
    # It has forgotten its scripts when it is back.
    await start_worker(service.url)
    load = Load(client)
    await load.flows(20)
    await node.kill()
    await node.start()
    await load.flows(20)
    await load.check()

    # It is full: puts are refused, and what is there goes out.
    await client.put(b"x")
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    async with node.client() as redis:
        await redis.config_set("maxmemory", 1)
        address = f"{service.url}{names.EAS_PREFIX}/svc"
        async with client.session.post(address, data=b"x") as answer:
            assert answer.status == 503, await answer.text()
        assert len(await client.read(9)) == 1
        await redis.config_set("maxmemory", 0)
    assert await client.length() == 0
