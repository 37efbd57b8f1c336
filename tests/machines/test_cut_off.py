"""A machine is cut off in the middle of a job and comes back: nothing is lost or duplicated.

Three machines: the queue service on one, workers on two, over TLS.  The cut is silent: the network
reports it to neither side.
"""

import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from client_sdk import AsyncQueueClient
from deploy.local.redis_server import RedisServer
from tests.machines.namespaces import Machines, reason_without_namespaces
from tests.running import TOKEN, QueueServiceProcess, ServerProcess, service_env
from tests.waiting import wait_until

REASON = reason_without_namespaces()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]

WORKER_TOKEN = "a-token-for-workers"

#: The lease, and what may be added to it: a look of the queue service, and a busy test machine.
LEASE_S = 4.0
SLACK_S = 20.0

START_S = 60.0


@pytest.fixture
def machines() -> Iterator[Machines]:
    """Make three machines, and put this test on the one with the queue."""
    with Machines.made("queue", "a", "b") as made, made.inside("queue"):
        yield made


@pytest.fixture
async def service(machines: Machines, tmp_path: Path) -> AsyncIterator[QueueServiceProcess]:
    """Run Redis and the queue service on the machine `queue`; `url` is for other machines."""
    address = machines.addresses["queue"]
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert(address).private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "queue.pem")
    )
    redis = RedisServer(tmp_path / "redis")
    await redis.start()
    env = service_env(
        redis_url=redis.url,
        key_prefix="cut",
        services=[{"name": "svc", "worker_token": WORKER_TOKEN}],
        host=address,
        lease_ms=int(LEASE_S * 1000),
        tls_cert_file=tmp_path / "queue.pem",
    )
    service = QueueServiceProcess(env, log_path=tmp_path / "service.log")
    service.url = f"https://{address}:{service.port}"
    service.spawn()
    try:
        await wait_until(lambda: f"Listening on {service.url}" in service.log, "it serves", START_S)
        yield service
        await service.stop()
    finally:
        service.kill_all()
        await redis.stop()


@asynccontextmanager
async def worker_on(
    machines: Machines, name: str, service: QueueServiceProcess, folder: Path
) -> AsyncIterator[ServerProcess]:
    """Let a machine join with one command."""
    (folder / "worker-token").write_text(WORKER_TOKEN)
    worker = ServerProcess(
        [
            *("-m", "deploy.cli", "worker", "--url", service.url, "--service", "svc"),
            *("--token-file", str(folder / "worker-token"), "--name", name),
            *("--ca-file", str(folder / "ca.pem"), "--grace", "0"),
            *("--engine", "handler:tests.machines.handler:Waits"),
        ],
        env={"MACHINE": name, "JOURNAL": str(folder)},
        log_path=folder / f"{name}.log",
        ready_url="",
    )
    try:
        with machines.inside(name):
            worker.spawn()
        await wait_until(lambda: "Connected" in worker.log, f"{name} is connected", START_S)
        yield worker
        await worker.stop()
    finally:
        worker.kill_all()


def started(folder: Path) -> list[str]:
    """Return what has started, in order: `a x` is job x on machine a."""
    path = folder / "journal"
    return path.read_text().splitlines() if path.exists() else []


def let_finish(folder: Path, machine: str) -> None:
    (folder / f"finish-{machine}").touch()


@pytest.mark.parametrize("how", ["unplugged", "dropped"])
async def test_a_machine_that_is_cut_off_in_a_job_and_returns(
    machines: Machines, service: QueueServiceProcess, tmp_path: Path, how: str
) -> None:
    cut: Callable[[str], None] = machines.unplug
    join: Callable[[str], None] = machines.plug_in
    if how == "dropped":
        if shutil.which("iptables") is None:
            pytest.skip("there is no iptables command")
        cut, join = machines.drop_all, machines.drop_nothing
    client = AsyncQueueClient(service.url, "svc", token=TOKEN, ca_file=str(tmp_path / "ca.pem"))
    async with client, worker_on(machines, "a", service, tmp_path) as a:
        job = await client.jobs.submit("x")
        await wait_until(lambda: started(tmp_path) == ["a x"], "a runs the job")
        async with worker_on(machines, "b", service, tmp_path):
            cut("a")
            cut_at_s = time.monotonic()
            await wait_until(lambda: started(tmp_path) == ["a x", "b x"], "b runs it", START_S)
            assert time.monotonic() - cut_at_s < LEASE_S + SLACK_S
            # The machine that is cut off finishes first, and cannot say so.
            let_finish(tmp_path, "a")
            let_finish(tmp_path, "b")
            assert await client.jobs.result(job.id, timeout_s=START_S) == b"x of b"
            join("a")
            refused = "Delivery 1 of", "The answer to delivery 1 of"
            await wait_until(lambda: any(one in a.log for one in refused), "a learns it", START_S)
            assert "LEASE_LOST" in a.log or "was lost" in a.log
            # Its late result changed nothing.
            assert await client.jobs.result(job.id) == b"x of b"
            assert (await client.jobs.get(job.id)).attempt == 2
            await client.jobs.delete(job.id)
            assert (await client.sink.attributes())["stream.length"] == "0"
            assert (await client.attributes())["stream.length"] == "0"
            # Both machines work again.
            ids = [(await client.jobs.submit(text)).id for text in ("y", "z")]
            answers = {await client.jobs.result(one, timeout_s=START_S) for one in ids}
            assert len(answers) == 2
