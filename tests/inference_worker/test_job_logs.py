"""The log of a job through everything that is real: handlers, workers, queue service, clients."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import cast

import aiohttp
import pytest
from redis import Redis

from client_sdk import AsyncQueueClient, Job, LogLine, QueueClient, errors
from client_sdk.wire.worker import Delivery
from tests.conftest import StartService, StartWorker
from tests.inference_worker.conftest import StartInProcess
from tests.inference_worker.peer import Peer
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until

HANDLERS = "handler:tests.inference_worker.log_handlers"


async def ended(client: AsyncQueueClient, *ids: str) -> list[Job]:
    async def all_ended() -> list[Job]:
        jobs = [await client.jobs.get(one) for one in ids]
        assert all(job.has_ended for job in jobs), jobs
        return jobs

    return await wait_until(all_ended, "the jobs have ended", timeout_s=90)


async def log_of(
    client: AsyncQueueClient, job_id: str, *, attempt: int = 0, tail: int = 0
) -> list[LogLine]:
    return [line async for line in client.jobs.logs(job_id, attempt=attempt, tail=tail)]


def texts(lines: Sequence[LogLine]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize("handler", ["InThreads", "InCoroutines"])
async def test_two_jobs_at_once_have_their_own_lines_and_tracebacks(
    start_service: StartService, start_worker: StartWorker, handler: str
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=f"{HANDLERS}:{handler}")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        jobs = {name: await client.jobs.submit(name) for name in ("anna", "ben")}
        await ended(client, *(job.id for job in jobs.values()))
        for name, job in jobs.items():
            lines = await log_of(client, job.id)
            other = "ben" if name == "anna" else "anna"
            assert not [line for line in lines if other in line.text]
            for step in range(20):
                found = [
                    (line.source, line.level, line.text)
                    for line in lines
                    if line.text.endswith(f"s {step}") and "thread" not in line.text
                ]
                assert sorted(found) == [
                    ("log", "INFO", f"{name} logs {step}"),
                    ("log", "WARNING", f"{name} tells {step}"),
                    ("stderr", "", f"{name} warns {step}"),
                    ("stdout", "", f"{name} prints {step}"),
                ]
            if handler == "InCoroutines":
                assert f"{name} prints in a thread 19" in texts(lines)
            assert "Traceback (most recent call last):" in texts(lines)
            assert lines[-2].text.endswith(f"BadInput: {name} has failed")
            assert lines[-1].source == "worker"
            assert lines[-1].text == f"The attempt failed: BadInput: {name} has failed"
            await client.jobs.delete(job.id)
            with pytest.raises(errors.NotFound):
                await log_of(client, job.id)


async def test_every_way_to_write_a_line(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    worker = await start_worker(service.url, engine=f"{HANDLERS}:everything")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit("x", events=False)
        await ended(client, job.id)
        lines = await log_of(client, job.id)
        shown = texts(lines)
        assert shown[:2] == ["one two three", "a bar 100 %"]
        assert shown[2] == "it has raised"
        assert "KeyError: 'x'" in shown
        assert "told in a thread" in shown
        assert "printed in a thread with the context" in shown
        assert "printed in a thread of its own" not in shown
        assert "too quiet" not in shown
        assert shown[-1] == "unfinished"
        await wait_until(
            lambda: "printed in a thread of its own" in worker.log, "it is in the worker's output"
        )
        assert texts(await log_of(client, job.id, tail=1)) == ["unfinished"]
        assert await log_of(client, job.id, attempt=2) == []
        await asyncio.to_thread(check_blocking, service.url, job.id, lines)
        await check_http(service, job, lines)
        await check_command(service.url, job.id, lines)
        await client.jobs.delete(job.id)


def check_blocking(url: str, job_id: str, lines: list[LogLine]) -> None:
    with QueueClient(url, "svc", token=TOKEN) as client:
        assert list(client.jobs.logs(job_id)) == lines
        assert list(client.jobs.logs(job_id, follow=True)) == lines
        assert list(client.jobs.logs(job_id, follow=True, tail=2)) == lines[-2:]


async def check_command(url: str, job_id: str, lines: list[LogLine]) -> None:
    async def penstock(*arguments: str) -> tuple[int, list[str]]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "logs", "svc", *arguments),
            *("--url", url, "--token", TOKEN),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode().splitlines()

    code, shown = await penstock(job_id, "-f")
    assert code == 0
    assert len(shown) == len(lines)
    assert shown[0] == f"{lines[0].time} 1 stdout  one two three"
    code, (last,) = await penstock(job_id, "--tail", "1", "--json")
    assert json.loads(last) == asdict(lines[-1])
    assert (await penstock("none"))[0] == 1


async def check_http(service: QueueServiceProcess, job: Job, lines: list[LogLine]) -> None:
    url = service.url + job.data["links"]["logs"]
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        async with session.get(url) as answer:
            assert answer.content_type == "application/x-ndjson"
            first = json.loads((await answer.text()).splitlines()[0])
            assert first["text"] == "one two three"
            assert first["level"] is None
        async with session.get(url, headers={"Accept": "text/plain"}) as answer:
            assert answer.content_type == "text/plain"
            shown = await answer.text()
            assert shown.splitlines()[0] == f"{lines[0].time} 1 stdout  one two three"
        async with session.get(url, params={"follow": "true"}) as answer:
            assert answer.content_type == "text/event-stream"
            events = (await answer.text()).split("\n\n")
            assert next(one for one in events if "event: end" in one).startswith("id: end\n")
        for bad in ({"tail": "-1"}, {"attempt": "x"}, {"format": "xml"}, {"after": "no"}):
            async with session.get(url, params=bad) as answer:
                assert answer.status == 400
        headers = {"Last-Event-ID": "end"}
        async with session.get(url, params={"follow": "true"}, headers=headers) as answer:
            assert answer.status == 204
        async with session.get(url, headers={"Authorization": "no"}) as answer:
            assert answer.status == 401


async def pid_in_log(client: AsyncQueueClient, job_id: str) -> int:
    """Wait until a job of the handler `hangs` runs, and return the id of its process."""

    async def printed() -> str | None:
        lines = texts(await log_of(client, job_id))
        return lines[-1] if lines else None

    return int((await wait_until(printed, "the line is stored")).removeprefix("running in "))


async def test_a_lost_engine_and_a_lost_worker_leave_what_was_printed_and_why(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 2}, lease_ms=3000)
    worker = await start_worker(service.url, engine=f"{HANDLERS}:hangs")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit("x")
        pid = await pid_in_log(client, job.id)
        os.kill(pid, signal.SIGKILL)

        async def second_attempt() -> bool:
            return len(await log_of(client, job.id, attempt=2)) == 1

        await wait_until(second_attempt, "it runs again")
        assert texts(await log_of(client, job.id, attempt=1)) == [
            f"running in {pid}",
            "The attempt failed: EngineDied: the engine's process was killed by signal 9",
        ]
        worker.kill_all()
        (lost,) = await ended(client, job.id)
        assert lost.state == "failed"
        *_, last = await log_of(client, job.id, attempt=2)
        assert last.source == "service"
        assert last.text == "The attempt failed: WorkerLost: its worker was lost before it answered"
        await client.jobs.delete(job.id)


async def test_another_worker_goes_on_with_the_log_of_a_lost_one(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 2}, lease_ms=3000)
    first = await start_worker(service.url, engine=f"{HANDLERS}:hangs")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit("egg")
        pid = await pid_in_log(client, job.id)
        first.kill_all()
        await start_worker(service.url, engine=f"{HANDLERS}:fails")
        await ended(client, job.id)
        assert texts(await log_of(client, job.id, attempt=1)) == [
            f"running in {pid}",
            "The attempt failed: WorkerLost: its worker was lost before it answered",
        ]
        again = texts(await log_of(client, job.id, attempt=2))
        assert again[:2] == ["before", "Traceback (most recent call last):"]
        assert "ValueError: bad egg" in again
        await client.jobs.delete(job.id)


@pytest.mark.slow
async def test_100_mb_of_output_delay_no_lease_and_leave_a_note(
    start_service: StartService, start_worker: StartWorker, redis_url: str, key_prefix: str
) -> None:
    service = await start_service(lease_ms=2000, max_log_bytes=100_000)
    worker = await start_worker(service.url, engine=f"{HANDLERS}:much")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit("1000000")
        (done,) = await ended(client, job.id)
        assert (done.state, done.attempt) == ("succeeded", 1)
        assert "was lost" not in worker.log
        assert "work connection" not in worker.log, "it has not reconnected"
        lines = await log_of(client, job.id)
        numbers = [int(line.text) for line in lines if line.source == "stdout"]
        assert numbers[:2] == [0, 1]
        assert numbers[-2:] == [999_998, 999_999], "the last lines are there"
        left_out = 1_000_000 - len(numbers)
        notes = texts([line for line in lines if line.source == "worker"])
        assert notes == [
            "The log is full: only the last lines follow, when the attempt ends.",
            f"{left_out} lines ({left_out * 99} bytes) were left out.",
        ]
        with closing(Redis.from_url(redis_url)) as redis:
            key = f"{key_prefix}:{{svc}}:log:{job.id}"
            used = cast(int, redis.memory_usage(key))
            assert 50_000 < used < 200_000
        await client.jobs.delete(job.id)


async def test_a_dead_letter_keeps_the_log_of_its_job(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 1, "dead_message_policy": "Park"})
    await start_worker(service.url, engine=f"{HANDLERS}:fails")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit("egg")
        await ended(client, job.id)
        once = await log_of(client, job.id)
        retry = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "jobs", "retry", "svc", job.id),
            *("--url", service.url, "--admin-token", ADMIN_TOKEN),
        )
        assert await retry.wait() == 0

        async def failed_again() -> bool:
            return len(texts(await log_of(client, job.id))) == 2 * len(once)

        await wait_until(failed_again, "the log has the lines of both runs of attempt 1")
        await ended(client, job.id)
        # The job is forgotten, and with it its log; that of the letter stays.
        await client.jobs.delete(job.id)
        lines = texts(await log_of(client, job.id))
        assert lines[0] == "before"
        assert "ValueError: bad egg" in lines
    async with aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session:
        dead = f"{service.url}/v1/services/svc/dead-letters"
        async with session.delete(dead, params={"all": "true"}) as answer:
            assert answer.status == 200, await answer.text()
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        with pytest.raises(errors.NotFound):
            await log_of(client, job.id)


async def test_a_call_for_several_jobs_shares_no_line_but_ctx_log_is_exact(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=f"{HANDLERS}:Batched")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        jobs = [await client.jobs.submit(text) for text in ("x", "y")]
        await ended(client, *(job.id for job in jobs))
        assert texts(await log_of(client, jobs[0].id)) == ["about x"]
        assert texts(await log_of(client, jobs[1].id)) == ["about y"]
        for job in jobs:
            await client.jobs.delete(job.id)


async def test_lines_arrive_while_the_job_runs_and_a_service_can_keep_none(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=f"{HANDLERS}:waits")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit("x")
        seen = []
        async for line in client.jobs.logs(job.id, follow=True):
            seen.append(line.text)
            if line.text == "waiting":
                assert (await client.jobs.get(job.id)).state == "running"
                await client.jobs.cancel(job.id)
        assert seen == ["waiting"]
        await client.jobs.delete(job.id)
    silent = await start_service({"name": "quiet"}, max_log_bytes=0)
    await start_worker(silent.url, "quiet", engine=f"{HANDLERS}:fails")
    async with AsyncQueueClient(silent.url, "quiet", token=TOKEN) as client:
        job = await client.jobs.submit("x")
        await ended(client, job.id)
        assert await log_of(client, job.id) == []
        await client.jobs.delete(job.id)


async def test_a_service_that_knows_no_logs_gets_none(peer: Peer, start: StartInProcess) -> None:
    await start(f"{HANDLERS}:fails", own_process=True)
    await peer.deliver(Delivery(1, 1, request_id="r", data=b"x", max_delivery=1))
    await wait_until(lambda: peer.answers, "it is answered")
    assert not peer.events
