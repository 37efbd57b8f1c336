"""Many results: large ones that are read, and small ones that nobody reads.

The numbers of the suite are small.  For those of a busy service set PENSTOCK_TEST_LARGE_JOBS=1000
and PENSTOCK_TEST_UNREAD_RESULTS=300000; the tests then print what they measured (`pytest -s`).
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.queue_service.web.jobs.api import JobsApi
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

LARGE_JOBS = int(os.environ.get("PENSTOCK_TEST_LARGE_JOBS", "30"))
UNREAD = int(os.environ.get("PENSTOCK_TEST_UNREAD_RESULTS", "300"))
#: What a sink holds by default.
DEFAULT_CAPACITY = 230_399
#: Lines of one request.
STEP = 5000
HANDLERS = "handler:tests.inference_worker.handlers"
INPUT = os.urandom(3_000_000)
RESULT = INPUT[::-1][:2_000_000]
#: A run with many takes minutes.
LONG_S = 3000.0

pytestmark = [
    pytest.mark.timeout(60 if max(LARGE_JOBS, UNREAD) <= 300 else LONG_S),
    pytest.mark.leaves_entries,
]


async def _jobs(count: int) -> AsyncIterator[bytes]:
    for first in range(0, count, STEP):
        yield b"".join(
            b'{"id": "job-%d", "input": "x"}\n' % number
            for number in range(first, min(first + STEP, count))
        )


async def _put(api: JobsApi, count: int) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    async for lines in _jobs(count):

        async def are_put(lines: bytes = lines) -> bool:
            # With many, the input queue may fill before the sink; putting a job again is no harm.
            put = await api.call("POST", data=lines, headers=headers)
            assert put.status == 200
            taken = put.body.count(b'"status": 202') + put.body.count(b'"status": 200')
            return taken == lines.count(b"\n")

        await wait_until(are_put, "all lines are put", LONG_S)


async def _service(session: aiohttp.ClientSession, url: str) -> Any:
    address = f"{url}/v1/services/svc"
    async with session.get(address, headers={"Authorization": ADMIN_TOKEN}) as answer:
        return await answer.json()


async def test_large_results_that_are_read_make_room_for_any_number_of_jobs(
    start_service: StartService, start_worker: StartWorker, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    # The default settings, for 1,000 jobs; a smaller number meets a smaller sink.
    sink = {} if LARGE_JOBS >= 1000 else {"max_length": LARGE_JOBS // 3}
    service = await start_service(
        {"name": "svc", "sink": sink}, files_dir=str(kept), files_reserve_mb=0
    )
    for _ in range(2):
        await start_worker(service.url, engine=f"{HANDLERS}:reverse_part", worker_threads=2)
    at_once, began_s = asyncio.Semaphore(8), time.monotonic()
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:

        async def one(number: int) -> None:
            async with at_once:
                job = await client.jobs.submit(INPUT, job_id=f"large-{number}")
                assert await client.jobs.result(job.id, timeout_s=LONG_S) == RESULT

        await asyncio.gather(*(one(number) for number in range(LARGE_JOBS)))
        took_s = time.monotonic() - began_s
        async with aiohttp.ClientSession() as session:
            described = (await _service(session, service.url))["sink"]
        used = shutil.disk_usage(tmp_path).used
        print(
            f"{LARGE_JOBS} jobs of 3 MB with results of 2 MB in {took_s:.1f} s: the sink has "
            f"{described['length']} of {described['capacity']} entries, {described['bytes']} bytes "
            f"in Redis and {described['file_bytes']} in files; {described['read']} were read and "
            f"{described['read_dropped']} dropped; the disk has {used} bytes in use"
        )
        assert described["length"] + described["read_dropped"] == LARGE_JOBS
        assert described["file_bytes"] == described["length"] * len(RESULT)
        assert described["length"] <= described["capacity"]
        # What was dropped left no file.
        await client.truncate(2**62)
        await client.sink.truncate(2**62)

    def is_empty() -> bool:
        return not [path for path in kept.rglob("*") if path.is_file()]

    await wait_until(is_empty, "the files went with the results", LONG_S)


async def test_small_results_that_nobody_reads_stop_the_service_and_a_read_lets_it_go_on(
    start_service: StartService, start_worker: StartWorker
) -> None:
    whole = UNREAD > DEFAULT_CAPACITY
    capacity = DEFAULT_CAPACITY if whole else UNREAD * 3 // 4
    service = await start_service(
        {"name": "svc", "sink": {} if whole else {"max_length": capacity}},
    )
    for _ in range(2):
        await start_worker(service.url, engine="echo", worker_threads=50)
    headers = {"Authorization": TOKEN}
    async with aiohttp.ClientSession(headers=headers) as session:
        api, began_s = JobsApi(session, service.url), time.monotonic()
        await _put(api, UNREAD)
        put_s = time.monotonic() - began_s

        async def is_full() -> bool:
            described = await _service(session, service.url)
            # What it says may be a second old.
            said = f"the sink holds {capacity:,} unread results; the next one expires in"
            return str(described["sink"]["full_because"]).startswith(said)

        await wait_until(is_full, "the sink is full", LONG_S)
        full_s = time.monotonic() - began_s
        described = await _service(session, service.url)
        assert described["input"]["length"] == UNREAD - capacity
        because = described["sink"]["full_because"]
        waiting = await api.job(f"job-{UNREAD - 1}")
        assert (waiting["state"], waiting["waiting_for"]) == ("queued", "sink")
        # The input queue has room, so the intake goes on until that is full too.
        began_s = time.monotonic()
        assert (await api.call("POST", data=b"one more")).status == 202
        one_put_s = time.monotonic() - began_s

        reads = min(1000, UNREAD - capacity)
        began_s = time.monotonic()
        for number in range(reads):
            assert (await api.call("GET", f"/job-{number}/result")).body == b"x"

        async def have_run() -> bool:
            described = await _service(session, service.url)
            return bool(described["input"]["length"] == UNREAD + 1 - capacity - reads)

        await wait_until(have_run, "each read let a job run", LONG_S)
        read_s = time.monotonic() - began_s
        sink = (await _service(session, service.url))["sink"]
        assert (sink["length"], sink["read_dropped"]) == (capacity, reads)
        gone = await api.call("GET", "/job-0/result")
        assert gone.status == 410
        print(
            f"{UNREAD} jobs: put in {put_s:.1f} s, sink of {capacity} full after {full_s:.1f} s "
            f"with {sink['bytes']} bytes; then a put takes {one_put_s * 1000:.1f} ms, and {reads} "
            f"reads let as many jobs run in {read_s:.1f} s: {because}"
        )
    async with AsyncQueueClient(service.url, "svc", token=TOKEN, timeout_s=600) as client:
        await client.truncate(2**62)
        await client.sink.truncate(2**62)
