"""How long a worker rests whose engine failed too often in a row."""

import logging

import pytest

from client_sdk import AsyncQueueClient
from deploy.local.redis_server import free_port
from inference_worker.circuit_breaker import CircuitBreaker
from inference_worker.engines.echo import EchoEngine, EchoOptions
from inference_worker.peer_workers import PeerWorkers, count_peers
from tests.conftest import StartService, StartWorker
from tests.inference_worker.conftest import HANDLERS
from tests.inference_worker.test_with_the_queue_service import collect
from tests.running import TOKEN
from tests.waiting import wait_until


class CountingEngine(EchoEngine):
    """Counts its restarts."""

    restarts = 0

    async def restart(self, reason: str) -> None:
        self.restarts += 1


async def rest(one: CircuitBreaker) -> None:
    one.open()
    await wait_until(lambda: not one.is_open, "the rest is over")


@pytest.mark.parametrize(("number", "lengths"), [(0, "0.5 0.5 0.5"), (1, "0.5 1 2")])
async def test_a_rest_grows_only_where_another_worker_takes_the_jobs(
    caplog: pytest.LogCaptureFixture, number: int, lengths: str
) -> None:
    async def others() -> int | None:
        return number

    engine = CountingEngine(EchoOptions(), capacity=1)
    one = CircuitBreaker(engine, lambda: None, others)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await rest(one)
    said = [record.getMessage().split()[-2] for record in caplog.records]
    assert " ".join(said) == lengths
    # If it is alone, an engine that has done nothing since its restart is not restarted again.
    assert engine.restarts == (3 if number else 1)
    one.record_success()
    await rest(one)
    assert engine.restarts == (4 if number else 2)


def test_who_else_takes_jobs_is_read_from_the_list_of_workers() -> None:
    def listed(uid: str, *, connected: bool = True, window: int = 2) -> dict[str, object]:
        return {"uid": uid, "window": window, "held": 0, "connected": connected}

    workers = [
        listed("me"),
        listed("another"),
        listed("rests", window=0),
        listed("leaves", connected=False),
    ]
    assert count_peers(workers, uid="me") == 1


WORKER_TOKEN = "a-token-of-workers"


async def test_who_else_is_there_can_be_asked_for(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "worker_token": WORKER_TOKEN})
    me = await start_worker(service.url)
    others = PeerWorkers(service.url, "svc", token=TOKEN, uid="somebody")

    async def number() -> bool:
        return await others.count() == 1

    await wait_until(number, "the worker is counted")
    # A worker's own token is enough, and a replica that is away is passed over.
    nobody = f"http://127.0.0.1:{free_port()}"
    workers_own = PeerWorkers(f"{nobody},{service.url}", "svc", token=WORKER_TOKEN, uid="somebody")
    assert await workers_own.count() == 1
    assert await PeerWorkers(service.url, "svc", token="wrong", uid="x").count() is None
    assert await PeerWorkers(nobody, "svc", token=TOKEN, uid="x").count() is None
    assert me


async def test_a_handler_that_always_fails_on_the_only_worker_answers_its_jobs_soon(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 3})
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        for _ in range(4):
            await client.put(b"x")
        await start_worker(service.url, engine=f"{HANDLERS}:Broken")
        # With rests that double it would be half a minute.
        frames = await collect(client, 4, timeout_s=60)
    assert {frame.tags["errorCode"] for frame in frames} == {"OSError"}
