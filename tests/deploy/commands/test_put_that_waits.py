"""`penstock put --wait` loses no request id, and says when there will be no result."""

import asyncio
import json
import subprocess
import sys

import pytest

from client_sdk import AsyncQueueClient
from tests.conftest import StartWorker
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

HANDLERS = "handler:tests.inference_worker.handlers"


def _put(service: QueueServiceProcess, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "deploy.cli", "put", "svc", *options, "--wait"),
            *("--url", service.url, "--token", TOKEN),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.leaves_entries
async def test_a_put_that_waits_says_its_request_id_and_how_to_ask_again(
    service: QueueServiceProcess,
) -> None:
    put = _put(service, "hello", "--request-id", "r-1", "--timeout", "0.5")
    out, told = put.communicate(timeout=120)
    assert (put.returncode, out) == (3, "")
    first, last = told.splitlines()
    assert first == "request r-1, waiting for the result"
    assert last.startswith("no result within 0.5 s; ask again with `")
    assert last.endswith(f" get svc r-1 --url {service.url}`")


async def test_a_job_without_a_result_is_said_to_have_none(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    worker = await start_worker(service.url, engine=f"{HANDLERS}:obey")
    # The job has to end before the put gives up, and on a busy machine a job takes its time.
    for timeout_s in (6, 60):
        put = _put(service, "none", "--timeout", str(timeout_s))
        _, told = put.communicate(timeout=timeout_s + 60)
        assert put.returncode == 3
        if said := "a handler that returns None stores none" in told:
            break
    assert said, told
    await wait_until(lambda: "has no result" in worker.log, "the worker says it too")


async def test_a_failed_job_prints_its_error_where_no_result_goes(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url, engine=f"{HANDLERS}:obey")
    put = _put(service, "bad")
    out, told = put.communicate(timeout=120)
    assert (put.returncode, out) == (1, "")
    assert told.splitlines()[-1] == "the job failed: a number is missing"


async def test_a_failed_job_is_marked_where_results_are_watched(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url, engine=f"{HANDLERS}:obey")
    lines = {}
    for as_json in (False, True):
        watch = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "watch", "svc", "--count", "2"),
            *(("--json",) if as_json else ()),
            *("--url", service.url, "--token", TOKEN),
            stdout=asyncio.subprocess.PIPE,
        )
        async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
            for data in (b"bad", b"pid"):
                await client.put(data, request_id=f"{data.decode()}-{as_json}")
        out, _ = await asyncio.wait_for(watch.communicate(), 30)
        lines[as_json] = sorted(out.decode().splitlines())
    good, bad = sorted(lines[False], key=lambda line: "bad" in line)
    assert bad.endswith("\tbad-False\terror: a number is missing")
    assert "error" not in good
    found = {frame["request_id"]: frame for frame in map(json.loads, lines[True])}
    assert found["bad-True"]["error"] == found["bad-True"]["data"] == "a number is missing"
    assert "error" not in found["pid-True"]
