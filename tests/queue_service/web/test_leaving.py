"""Workers are asked to leave: through any replica, idle ones first, at the cost of no job."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient, WorkConnection
from tests.conftest import Serve, StartService, StartWorker
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess, WorkerProcess
from tests.waiting import wait_until

LEAVE = "/v1/services/svc/workers/leave"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": ADMIN_TOKEN, "Accept": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as opened:
        yield opened


async def ask(
    session: aiohttp.ClientSession, service: QueueServiceProcess, body: object
) -> tuple[int, Any]:
    async with session.post(service.url + LEAVE, json=body) as answer:
        return answer.status, await answer.json()


async def workers(
    session: aiohttp.ClientSession, service: QueueServiceProcess
) -> list[dict[str, Any]]:
    async with session.get(f"{service.url}/v1/services/svc") as answer:
        found: list[dict[str, Any]] = (await answer.json())["input"]["subscribers"]
        return [one for one in found if one["about"].get("kind") == "worker"]


async def when_connected(
    session: aiohttp.ClientSession, service: QueueServiceProcess, count: int
) -> None:
    async def are_there() -> bool:
        return len(await workers(session, service)) == count

    await wait_until(are_there, f"{count} workers are connected")


async def has_left(worker: WorkerProcess) -> None:
    await wait_until(lambda: not worker.running, "it has left")
    assert worker.process is not None
    assert worker.process.returncode == 0, worker.log
    assert "SIGTERM" not in worker.log


async def test_a_busy_worker_of_another_replica_finishes_and_ends(
    start_service: StartService, start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    # With one attempt only, a charge for the leaving would be seen as an error result.
    wanted = {"name": "svc", "max_delivery": 1}
    near, far = await start_service(wanted), await start_service(wanted)
    worker = await start_worker(far.url, engine_options={"delay_s": 2}, grace_s=0.01)
    async with AsyncQueueClient(near.url, "svc", token=TOKEN) as client:
        await when_connected(session, near, 1)
        await client.put(b"a")

        async def is_busy() -> bool:
            return bool((await workers(session, near))[0]["held"] == 1)

        await wait_until(is_busy, "it has the job")
        status, said = await ask(session, near, {"count": 1})
        assert (status, [one["held"] for one in said["leaving"]]) == (200, [1])
        assert (await workers(session, near))[0]["leaving"]
        # It takes nothing more, although it could.
        await client.put(b"b")
        await has_left(worker)
        frames = await client.sink.get(length=2)
        assert [(frame.data, "lastCode" in frame.tags) for frame in frames] == [(b"a", False)]
        assert await client.count() == 1
        await start_worker(near.url)
        assert [frame.data for frame in await client.sink.get(timeout_s=20)] == [b"b"]


async def test_an_idle_worker_leaves_before_a_busy_one(
    start_service: StartService, start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    service = await start_service()
    busy = await start_worker(service.url, engine_options={"delay_s": 600}, grace_s=0.01)
    await when_connected(session, service, 1)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        await client.put(b"long", tags={"n": "1"})

        async def is_busy() -> bool:
            return bool((await workers(session, service))[0]["held"] == 1)

        await wait_until(is_busy, "the first one is busy")
        idle = await start_worker(service.url)
        await when_connected(session, service, 2)
        status, said = await ask(session, service, {"count": 1})
        assert (status, said["leaving"][0]["held"]) == (200, 0)
        assert said["leaving"][0]["pid"] == idle.pid
        await has_left(idle)
        assert busy.running
        # All that can be asked leave, and no more are invented.
        status, said = await ask(session, service, {"count": 5})
        assert [one["pid"] for one in said["leaving"]] == [busy.pid]
        assert (await ask(session, service, {"count": 1}))[1] == {"leaving": []}
        assert busy.running
        await client.delete([1])


async def test_a_worker_can_be_named(
    start_service: StartService, start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    service = await start_service()
    first, second = await start_worker(service.url), await start_worker(service.url)
    await when_connected(session, service, 2)
    uid = next(
        one["uid"] for one in await workers(session, service) if one["about"]["pid"] == first.pid
    )
    status, said = await ask(session, service, {"uids": [uid, "nobody"]})
    assert (status, said["code"]) == (404, "NOT_FOUND")
    assert "nobody" in said["message"]
    assert not any(one["leaving"] for one in await workers(session, service))
    status, said = await ask(session, service, {"uids": [uid, uid]})
    assert (status, [one["uid"] for one in said["leaving"]]) == (200, [uid])
    await has_left(first)
    assert second.running


async def test_a_worker_without_jobs_ends_by_itself(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    worker = await start_worker(service.url, exit_when_idle_s=0.2, wait=False)
    await has_left(worker)


async def test_an_older_worker_is_never_asked(
    start_service: StartService, session: aiohttp.ClientSession
) -> None:
    service = await start_service()
    connection = WorkConnection(service.url, "svc", window=1, token=TOKEN, uid="old")
    async with connection:
        await connection.wait_connected()
        assert await ask(session, service, {"count": 1}) == (200, {"leaving": []})
        status, said = await ask(session, service, {"uids": ["old"]})
        assert (status, said["code"]) == (404, "NOT_FOUND")


WRONG: list[object] = [
    {},
    [],
    {"count": 0},
    {"count": -1},
    {"count": 1001},
    {"count": 1.5},
    {"count": "1"},
    {"count": True},
    {"count": None},
    {"uids": []},
    {"uids": "a"},
    {"uids": [1]},
    {"count": 1, "uids": ["a"]},
    {"counts": 1},
]


async def test_a_wrong_wish_is_refused(serve: Serve, session: aiohttp.ClientSession) -> None:
    url = await serve()
    for body in WRONG:
        async with session.post(url + LEAVE, json=body) as answer:
            said = await answer.json()
            assert (answer.status, said["code"]) == (400, "BAD_PARAMETER"), (body, said)


async def test_an_autoscaler_that_has_lost_its_lease_asks_nobody(
    start_service: StartService, start_worker: StartWorker, session: aiohttp.ClientSession
) -> None:
    service = await start_service()
    worker = await start_worker(service.url)
    await when_connected(session, service, 1)
    lease = {"holder": "second", "lease_ms": 60_000}
    async with session.put(f"{service.url}/v1/services/svc/scale", json=lease) as answer:
        assert answer.status == 200
    for holder, status in (("first", 409), ("second", 200)):
        where = f"{service.url}{LEAVE}?holder={holder}"
        async with session.post(where, json={"count": 1}) as answer:
            told = await answer.json()
            assert answer.status == status, told
            if status == 409:
                assert (told["code"], told["holder"]) == ("LEASE_HELD", "second")
                assert not (await workers(session, service))[0]["leaving"]
    await has_left(worker)
