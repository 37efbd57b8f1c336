"""`penstock map`: interrupted, stopped, refused, and given again."""

import asyncio
import json
import os
import resource
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from deploy.local.data_dir import DataDir, Running
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


class Map:
    """One `penstock map` over some numbers.

    service, where: the words that name it, and the options that say where it is, instead of url.
    """

    def __init__(self, folder: Path, url: str, inputs: int = 40) -> None:
        self.inputs, self.outputs, self.url = folder / "in.jsonl", folder / "out.jsonl", url
        self.service, self.where = ["svc"], list[str]()
        self.inputs.write_text("".join(f'"{number}"\n' for number in range(inputs)))

    async def start(self, *options: str, limit_bytes: int = 0) -> asyncio.subprocess.Process:
        """limit_bytes: of any file that it writes, as a disk that is full."""

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

        where = self.where or ["--url", self.url]
        words = [*self.service, str(self.inputs), str(self.outputs), *options, *where]
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "map", *words),
            env={**os.environ, "PENSTOCK_TOKEN": TOKEN},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=limited if limit_bytes else None,
        )

    async def run(self, *options: str, limit_bytes: int = 0) -> tuple[int, str, str]:
        """Return the exit code, and what was printed on either."""
        return await _ended(await self.start(*options, limit_bytes=limit_bytes))

    def lines(self) -> list[dict[str, object]]:
        text = self.outputs.read_text() if self.outputs.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def has_all(self) -> bool:
        outputs = {line["number"]: line.get("output") for line in self.lines()}
        count = len(self.inputs.read_text().split())
        return len(self.lines()) == count and outputs == {n: str(n) for n in range(count)}


async def _ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    out, told = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), told.decode()


@pytest.fixture
def mapping(service: QueueServiceProcess, tmp_path: Path) -> Map:
    return Map(tmp_path, service.url)


async def test_a_map_writes_a_line_for_each_input_and_leaves_no_job(
    mapping: Map, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url)
    code, out, told = await mapping.run("--json", "--ordered")
    assert code == 0, told
    assert [line["number"] for line in mapping.lines()] == list(range(40))
    assert mapping.has_all()
    summary = json.loads(out)
    assert (summary["inputs"], summary["succeeded"], summary["failed"]) == (40, 40, 0)
    assert "40 succeeded and 0 failed of 40" in told
    before = mapping.outputs.read_bytes()
    code, _, told = await mapping.run()
    assert (code, mapping.outputs.read_bytes()) == (0, before)
    assert "40 of 40 are already done" in told
    async with AsyncQueueClient(mapping.url, "svc", token=TOKEN) as client:
        assert await client.sink.count() == 0


async def test_without_a_name_it_is_the_service_of_the_local_mode(
    mapping: Map, start_worker: StartWorker, tmp_path: Path
) -> None:
    await start_worker(mapping.url)
    mapping.service = []
    code, _, told = await mapping.run()
    assert code == 2
    assert "expected SERVICE IN OUT with --url" in told
    mapping.where = ["--data", str(tmp_path)]
    code, _, told = await mapping.run()
    assert code == 4, told
    with DataDir(tmp_path).lock():
        DataDir(tmp_path).announce(Running(mapping.url, "svc", TOKEN, "", os.getpid()))
        code, _, told = await mapping.run()
    assert code == 0, told
    assert mapping.has_all()
    mapping.service = ["a", "b"]
    code, _, told = await mapping.run()
    assert code == 2
    assert "expected [SERVICE] IN OUT, got 4 words" in told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_stopped_map_goes_on_with_the_same_command_and_computes_nothing_twice(
    mapping: Map, start_worker: StartWorker, number: signal.Signals, code: int
) -> None:
    worker = await start_worker(mapping.url, engine_options={"delay_s": 0.1}, window=4)
    process = await mapping.start("--in-flight", "8")
    await wait_until(lambda: len(mapping.lines()) >= 6, "some are done")
    process.send_signal(number)
    ended, _, told = await _ended(process)
    assert ended == code, told
    assert "Up to 8 open jobs continue; run the same command again" in told
    assert 6 <= len(mapping.lines()) < 40
    ended, _, told = await mapping.run()
    assert ended == 0, told
    assert mapping.has_all()
    async with aiohttp.ClientSession() as session, session.get(worker.metrics_url) as answer:
        assert "penstock_worker_run_seconds_count 40.0" in await answer.text()


async def test_failed_inputs_are_lines_with_an_error_and_are_put_again_when_asked_for(
    mapping: Map, start_worker: StartWorker
) -> None:
    options = {"fail_every": 4, "fail_retryable": False}
    await start_worker(mapping.url, engine_options=options, window=1)
    code, _, told = await mapping.run()
    assert (code, len(mapping.lines())) == (1, 40)
    failed = [line for line in mapping.lines() if line["state"] == "failed"]
    assert len(failed) == 10
    sentence = "every job that is a multiple of 4 fails"
    error = {"type": "internal", "code": "EchoFailed", "message": sentence}
    assert failed[0]["error"] == error
    assert "30 succeeded and 10 failed of 40" in told
    assert (await mapping.run())[0] == 1
    while (await mapping.run("--retry-failed"))[0] == 1:
        assert len(mapping.lines()) == 40
    assert mapping.has_all()


async def test_one_input_that_is_too_big_fails_alone(
    mapping: Map, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url)
    mapping.inputs.write_text(f'"0"\n"{"x" * 10_000_000}"\n"2"\n')
    code, _, told = await mapping.run()
    assert code == 1, told
    by_number = {line["number"]: line for line in mapping.lines()}
    assert (by_number[0]["output"], by_number[2]["output"]) == ("0", "2")
    assert by_number[1]["state"] == "refused"
    assert "FRAME_TOO_BIG" in str(by_number[1]["error"])


async def test_a_full_disk_is_said_and_leaves_whole_lines_to_go_on_from(
    mapping: Map, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url)
    code, _, told = await mapping.run(limit_bytes=2000)
    assert code == 1
    assert "cannot write" in told
    assert "File too large" in told
    assert 10 < len(mapping.lines()) < 40
    assert mapping.outputs.read_bytes().endswith(b"\n")
    assert (await mapping.run())[0] == 0
    assert mapping.has_all()


async def test_a_result_that_is_gone_is_computed_again(
    start_service: StartService, start_worker: StartWorker, tmp_path: Path
) -> None:
    service = await start_service(result_retention_ms=200)
    mapping = Map(tmp_path, service.url, inputs=6)
    process = await mapping.start()
    async with AsyncQueueClient(mapping.url, "svc", token=TOKEN) as client:

        async def all_put() -> bool:
            return await client.count() == 6

        await wait_until(all_put, "all jobs are put")
        process.kill()
        await process.wait()
        await start_worker(service.url)

        async def over() -> bool:
            return await client.count() == 0 and await client.sink.count() == 0

        await wait_until(over, "all results were kept for their time")
        code, _, told = await mapping.run()
    assert code == 0, told
    assert mapping.has_all()


@pytest.mark.parametrize(
    ("url", "options", "code", "said"),
    [
        ("", ("--token", "wrong"), 1, "UNAUTHORIZED"),
        ("", ("--start-by", "soon"), 1, "start_by: expected a time"),
        ("http://127.0.0.1:1", (), 4, "cannot connect to 127.0.0.1:1"),
    ],
)
async def test_what_is_about_the_service_or_all_jobs_ends_the_map_at_once(
    mapping: Map, url: str, options: tuple[str, ...], code: int, said: str
) -> None:
    mapping.url = url or mapping.url
    ended, _, told = await mapping.run(*options)
    assert ended == code, told
    assert said in told
    assert mapping.lines() == []
