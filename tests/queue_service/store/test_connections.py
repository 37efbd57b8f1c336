"""Redis by a socket, over TLS, and as a user who may do no more than Penstock needs."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoPermissionError

from queue_service.store.prelude import read_sources
from tests.conftest import StartService, StartWorker
from tests.promises.conftest import Client
from tests.queue_service.store.binaries import binaries
from tests.queue_service.store.conftest import MakeNode
from tests.queue_service.store.load import Load
from tests.queue_service.store.tls import Certificates, tls_proxy
from tests.running import QueueServiceProcess, free_port
from tests.waiting import wait_until

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


async def check_it_serves(
    client: Client, url: str, start_service: StartService, start_worker: StartWorker, **more: Any
) -> None:
    """Put, compute and read through a service on this Redis, from two replicas of it."""
    service = await start_service(redis_url=url, **more)
    other = await start_service(redis_url=url, **more)
    client.url = service.url
    await start_worker(other.url)
    load = Load(client)
    await load.flows(20)
    await load.check()
    assert not load.refusals


async def test_redis_is_reached_by_its_socket(
    make_node: MakeNode,
    start_service: StartService,
    start_worker: StartWorker,
    client: Client,
    tmp_path: Path,
) -> None:
    await make_node(f"unixsocket {tmp_path}/redis.sock").start()
    await check_it_serves(client, f"unix://{tmp_path}/redis.sock", start_service, start_worker)


@pytest.mark.parametrize("tls", ["Redis' own", "a door before it"])
async def test_redis_is_reached_over_tls_with_a_client_certificate(
    *,
    make_node: MakeNode,
    start_service: StartService,
    start_worker: StartWorker,
    client: Client,
    tmp_path: Path,
    tls: str,
) -> None:
    made = Certificates.make(tmp_path)
    options = {"redis_ca_file": made.ca, "redis_cert_file": made.client}
    if tls == "a door before it":
        node = await make_node(password="secret").start()
        async with tls_proxy(made, node.port) as port:
            url = f"rediss://:secret@localhost:{port}"
            await check_it_serves(client, url, start_service, start_worker, **options)
            await check_that_strangers_are_refused(start_service, made, port)
        return
    with_tls = [binary for binary in binaries() if binary.has_tls]
    if not with_tls:
        pytest.skip("no server found here was built with TLS")
    node = make_node(
        "tls-port 0",
        f"tls-cert-file {made.server}",
        f"tls-key-file {made.server}",
        f"tls-ca-cert-file {made.ca}",
        "tls-auth-clients yes",
        binary=with_tls[-1],
    )
    await node.start()
    async with node.client() as redis:
        await redis.config_set("tls-port", port := free_port())
    url = f"rediss://localhost:{port}"
    await check_it_serves(client, url, start_service, start_worker, **options)
    await check_that_strangers_are_refused(start_service, made, port)


async def check_that_strangers_are_refused(
    start_service: StartService, made: Certificates, port: int
) -> None:
    """Without our certificate, with another authority, or under another name: no connection."""
    right = {"redis_ca_file": made.ca, "redis_cert_file": made.client}
    for url, options in (
        (f"rediss://localhost:{port}", {"redis_ca_file": made.ca}),
        (f"rediss://localhost:{port}", {**right, "redis_ca_file": made.stranger}),
        (f"rediss://127.0.0.1:{port}", right),
    ):
        service = await start_service(redis_url=url, wait=False, **options)
        await wait_until(partial(says_that_redis_is_away, service), "it is refused")
        assert not service.ready()


def says_that_redis_is_away(service: QueueServiceProcess) -> bool:
    return "The store does not answer yet" in service.log


def documented_user() -> list[str]:
    """Return the words of the ACL rules that docs/operations.md recommends."""
    (block,) = re.findall(r"```acl\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    words: list[str] = block.split()
    assert words[:2] == ["user", "penstock"]
    return words[1:]


def test_the_documented_user_may_do_what_the_scripts_do() -> None:
    used = set(re.findall(r"(?:redis\.call|later)\('([A-Z]+)'", "".join(read_sources().values())))
    assert len(used) > 20
    assert {f"+{command.lower()}" for command in used} <= set(documented_user())


async def test_a_user_with_the_documented_rights_is_enough_and_may_do_nothing_else(
    *,
    make_node: MakeNode,
    start_service: StartService,
    start_worker: StartWorker,
    client: Client,
    key_prefix: str,
) -> None:
    node = await make_node().start()
    words = [word.replace("ps:", f"{key_prefix}:") for word in documented_user()]
    assert f"~{key_prefix}:*" in words
    async with node.client() as redis:
        await redis.execute_command("ACL", "SETUSER", *words)  # type: ignore[no-untyped-call]
    url = f"redis://penstock:a-long-password@127.0.0.1:{node.port}"
    await check_it_serves(client, url, start_service, start_worker)
    async with node.client() as redis:
        denied = {str(entry["object"]) for entry in await redis.acl_log()}
    # The library tells its name, and goes on without.
    assert denied <= {"client|setinfo", "client"}

    async with node.client(username="penstock", password="a-long-password") as redis:
        for command in (
            "FLUSHALL",
            "FLUSHDB",
            "KEYS *",
            "SCAN 0",
            "CONFIG GET maxmemory",
            "CONFIG SET maxmemory 1",
            "INFO",
            "SHUTDOWN",
            "ACL LIST",
            "CLIENT LIST",
            "MONITOR",
            "SCRIPT FLUSH",
            "REPLICAOF NO ONE",
            "GET somebody-elses",
            f"DEL {key_prefix}:{{svc}}:input:meta",
            "PUBLISH somebody-elses x",
        ):
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*command.split())  # type: ignore[no-untyped-call]
