"""A paused service accepts jobs and delivers none, on every replica and over every restart."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner

from client_sdk.wire import names
from deploy.cli import app
from tests.conftest import StartService
from tests.promises.conftest import Client, Peers, Watchers
from tests.running import ADMIN_TOKEN, QueueServiceProcess
from tests.waiting import wait_until


async def _penstock(*words: str, url: str, code: int = 0) -> str:
    """Run a command in a thread: it has an event loop of its own."""
    command = [*words, "--url", url, "--admin-token", ADMIN_TOKEN]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


async def _get(session: aiohttp.ClientSession, url: str, token: str = "") -> Any:
    headers = {"Authorization": token} if token else {}
    async with session.get(url, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def _submit(session: aiohttp.ClientSession, url: str) -> str:
    async with session.post(f"{url}/v1/services/svc/jobs", data=b"x") as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["id"])


async def test_nothing_is_delivered_on_any_replica_until_it_is_resumed(
    start_service: StartService,
    session: aiohttp.ClientSession,
    client: Client,
    peers: Peers,
    watchers: Watchers,
) -> None:
    one, two = await start_service(), await start_service()
    client.url = two.url
    here, there = peers.make(5), peers.make(5)
    await here.connect(one.url)
    await there.connect(two.url)
    await client.put(b"runs")
    await wait_until(lambda: here.held or there.held, "one job runs")

    await _penstock("pause", "svc", url=one.url)
    index, _ = await client.put(b"waits")
    late = peers.make(5)
    await late.connect(one.url)
    watcher = watchers.make(two.url, gid=names.DEFAULT_GROUP)
    await watcher.watch()
    # The job that runs ends as ever, and its worker has room again.
    busy = here if here.held else there
    await busy.complete(*busy.held)
    await wait_until(lambda: client.has_length(1, "/sink"), "its result is stored")
    assert not await client.search_is_pending(index)
    assert len(here.handed) + len(there.handed) + len(late.handed) == 1
    assert all(peer.connected for peer in peers)
    assert watcher.connected
    assert watcher.frames == []
    await watcher.close()

    assert "paused" in await _penstock("ls", url=two.url)
    shown = json.loads(await _penstock("desc", "svc", "--json", url=two.url))
    assert (shown["state"], shown["paused_at_ms"] > 0) == ("running", True)
    async with session.get(f"{two.url}/metrics", headers={"Authorization": ADMIN_TOKEN}) as answer:
        assert 'penstock_queue_paused{queue="input",service="svc"} 1.0' in await answer.text()

    await _penstock("resume", "svc", url=two.url)
    await wait_until(lambda: any(peer.held for peer in peers), "the other job goes out")
    worker = next(peer for peer in peers if peer.held)
    await worker.complete(*worker.held)
    await wait_until(lambda: client.has_length(2, "/sink"), "its result is stored")
    await client.truncate("/sink")


async def test_a_service_stays_paused_when_everything_is_restarted(
    start_service: StartService, client: Client, peers: Peers
) -> None:
    service = await start_service()
    client.url = service.url
    await _penstock("pause", "svc", url=service.url)
    paused = json.loads(await _penstock("pause", "svc", "--json", url=service.url))
    index, _ = await client.put(b"waits")
    service.kill()
    await service.start()
    worker = peers.make(1)
    await worker.connect(service.url)
    shown = json.loads(await _penstock("desc", "svc", "--json", url=service.url))
    # Pausing a second time did not change since when it is.
    assert shown["paused_at_ms"] == paused["paused_at_ms"]
    assert not await client.search_is_pending(index)
    await _penstock("resume", "svc", url=service.url)
    await wait_until(lambda: worker.held, "it goes out")
    await worker.complete(*worker.held)
    await wait_until(lambda: client.has_length(1, "/sink"), "its result is stored")
    await client.truncate("/sink")


async def test_the_job_says_why_it_has_no_start_time(
    service: QueueServiceProcess, session: aiohttp.ClientSession, client: Client, peers: Peers
) -> None:
    client.url = service.url
    worker = peers.make(1)
    await worker.connect(service.url)
    jobs = f"{service.url}/v1/services/svc/jobs"
    await _submit(session, service.url)
    await wait_until(lambda: worker.held, "a job runs")
    await worker.complete(*worker.held)
    await _submit(session, service.url)
    await wait_until(lambda: worker.held, "another job runs")
    waiting = await _submit(session, service.url)

    async def estimated() -> bool:
        return bool((await _get(session, f"{jobs}/{waiting}"))["estimate"])

    await wait_until(estimated, "run times are known")
    await _penstock("pause", "svc", url=service.url)
    job = await _get(session, f"{jobs}/{waiting}")
    assert (job["estimate"], job["waiting_for"], job["position"]) == (None, "resume", 0)
    async with session.get(f"{jobs}/{waiting}/result", params={"wait": "0s"}) as answer:
        assert answer.status == 202
    await _penstock("resume", "svc", url=service.url)
    job = await _get(session, f"{jobs}/{waiting}")
    assert (bool(job["estimate"]), job["waiting_for"]) == (True, None)
    await worker.complete(*worker.held)
    await wait_until(lambda: worker.held, "the last one goes out")
    await worker.complete(*worker.held)
    await wait_until(lambda: client.has_length(3, "/sink"), "every result is stored")
    await client.truncate("/sink")


async def test_pause_waits_for_the_jobs_that_run(
    service: QueueServiceProcess, client: Client, peers: Peers
) -> None:
    client.url = service.url
    worker = peers.make(1)
    await worker.connect(service.url)
    await client.put(b"runs")
    await wait_until(lambda: worker.held, "it runs")
    command = ["pause", "svc", "--drain", "--url", service.url, "--admin-token", ADMIN_TOKEN]
    soon = await asyncio.to_thread(CliRunner().invoke, app, [*command, "--timeout", "0"])
    assert "1 of its jobs still run" in str(soon.exception)

    draining = asyncio.create_task(_penstock("pause", "svc", "--drain", url=service.url))
    assert await client.has_length(1)
    assert not draining.done()
    await worker.complete(*worker.held)
    assert "paused, 0 running" in await draining
    await _penstock("resume", "svc", url=service.url)
    await client.truncate("/sink")


@pytest.mark.parametrize("length", [1, 3])
async def test_a_paused_service_gives_eas_workers_nothing_and_shows_clients_everything(
    service: QueueServiceProcess,
    session: aiohttp.ClientSession,
    client: Client,
    length: int,
) -> None:
    client.url = service.url
    await _penstock("pause", "svc", url=service.url)
    index, _ = await client.put(b"waits")
    address = f"{service.url}{names.EAS_PREFIX}/svc"
    take = {names.AUTO_DELETE: "true", names.RAW: "false", names.LENGTH: str(length)}
    assert await client.read(length, queue="") == []
    # A read that leaves it where it is, a count and a search are no delivery.
    async with session.get(address, params={names.RAW: "false"}) as answer:
        assert answer.status == 200
    async with session.get(address, params={names.COUNT: "true"}) as answer:
        assert await answer.text() == "1"
    assert not await client.search_is_pending(index)

    # A long poll that waits gets it when the service is resumed, and does not end before.
    polling = asyncio.create_task(
        session.get(address, params=take | {names.TIMEOUT: "30s"}).__aenter__()
    )
    assert await client.has_length(1)
    assert not polling.done()
    await _penstock("resume", "svc", url=service.url)
    answer = await polling
    assert answer.status == 200
    await answer.read()
    await wait_until(lambda: client.has_length(0), "it was taken")


async def test_only_operators_pause_and_only_what_exists(
    service: QueueServiceProcess, session: aiohttp.ClientSession
) -> None:
    for verb in ("pause", "resume"):
        async with session.post(f"{service.url}/v1/services/svc/{verb}") as answer:
            assert answer.status == 401
        address, headers = f"{service.url}/v1/services/other/{verb}", {"Authorization": ADMIN_TOKEN}
        async with session.post(address, headers=headers) as answer:
            assert answer.status == 404
