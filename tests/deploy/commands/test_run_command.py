"""`penstock run`: a job from its position to its result; Ctrl-C, time-outs and failures."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from client_sdk import AsyncQueueClient, NotFound
from deploy.commands.job_following import place_of
from tests.conftest import StartWorker
from tests.deploy.terminal import Terminal
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

TEXT = "a text that grows \x1b[2J and is long enough for many pieces \u202e of it"


class Runs:
    """`penstock run` against one service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = AsyncQueueClient(url, "svc", token=TOKEN)

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.entry", "run", "svc", *words, "--url", self.url),
            env={**os.environ, "PENSTOCK_TOKEN": TOKEN},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str, piped: bytes = b"") -> tuple[int | None, bytes, str]:
        process = await self.start(*words)
        out, told = await process.communicate(piped)
        return process.returncode, out, told.decode()

    async def state(self, job_id: str) -> str:
        return (await self.client.jobs.get(job_id)).state


@pytest.fixture
async def runs(service: QueueServiceProcess) -> AsyncIterator[Runs]:
    made = Runs(service.url)
    async with made.client:
        yield made


async def test_a_run_prints_the_result_and_nothing_else_on_standard_output(
    runs: Runs, start_worker: StartWorker
) -> None:
    await start_worker(runs.url)
    code, out, told = await runs.run("hello", "--id", "r-1", "--tag", "k=v", "--priority", "1")
    assert (code, out) == (0, b"hello"), told
    assert told == "job r-1, waiting for the result\n"
    # The same again puts nothing, and another input under the id is refused.
    again = await runs.run("hello", "--id", "r-1", "--tag", "k=v", "--priority", "1")
    assert again[:2] == (0, b"hello")
    code, _, told = await runs.run("other", "--id", "r-1")
    assert code == 1
    assert "ID_IN_USE" in told

    binary = bytes(range(256))
    for words in ((), ("-",)):
        code, out, _ = await runs.run(*words, piped=binary)
        assert (code, out) == (0, binary)
    code, out, _ = await runs.run('{"a": 1}', "--json")
    document = json.loads(out)
    assert (document["state"], document["output"]) == ("succeeded", {"a": 1})
    # Only the one that was given an id of its own is still known, and those that are to be kept.
    assert await runs.client.sink.count() == 1
    await runs.run("kept", "--keep")
    assert await runs.client.sink.count() == 2
    code, _, told = await runs.run()
    assert code == 2
    assert "standard input" in told


async def test_a_job_that_stores_no_result_says_so(runs: Runs, start_worker: StartWorker) -> None:
    await start_worker(runs.url)
    code, out, told = await runs.run("-")
    assert (code, out) == (0, b"")
    assert told.endswith("the job succeeded and stored no result\n")


async def test_a_run_that_does_not_wait_prints_the_id(runs: Runs) -> None:
    code, out, _ = await runs.run("x", "--no-wait", "--id", "mine")
    assert (code, out) == (0, b"mine\n")
    assert await runs.state("mine") == "queued"
    code, out, told = await runs.run("x", "--id", "mine", "--timeout", "0.5")
    assert (code, out) == (3, b"")
    assert "the job goes on; the same command with --id mine waits for it again" in told
    assert await runs.state("mine") == "queued"


async def test_a_result_that_cannot_be_written_is_said(
    runs: Runs, start_worker: StartWorker
) -> None:
    await start_worker(runs.url)
    command = f"{sys.executable} -m deploy.entry run svc x --url {runs.url} > /dev/full"
    process = await asyncio.create_subprocess_shell(
        command,
        env={**os.environ, "PENSTOCK_TOKEN": TOKEN},
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 1
    said = "cannot write to standard output: No space left on device"
    assert told.decode().splitlines()[-1] == said


async def test_a_job_without_a_result_says_why_and_ends_with_1(
    runs: Runs, start_worker: StartWorker
) -> None:
    code, out, told = await runs.run("late", "--start-by", "1s")
    assert (code, out) == (1, b"")
    assert "the job has expired" in told
    options = {"fail_every": 1, "fail_retryable": False}
    await start_worker(runs.url, engine_options=options)
    code, out, told = await runs.run("x")
    assert (code, out) == (1, b"")
    assert told.splitlines()[-1] == "the job failed: every job that is a multiple of 1 fails"
    code, out, _ = await runs.run("x", "--json")
    document = json.loads(out)
    assert (code, document["state"]) == (1, "failed")
    assert document["error"]["code"] == "EchoFailed"


@pytest.mark.parametrize("runs_already", [False, True])
async def test_ctrl_c_cancels_the_job_waiting_or_running(
    runs: Runs, start_worker: StartWorker, runs_already: bool
) -> None:
    if runs_already:
        await start_worker(runs.url, engine_options={"delay_s": 600})
    process = await runs.start("x", "--id", "mine")
    wanted = "running" if runs_already else "queued"

    async def is_there() -> bool:
        found = [job async for job in _known(runs)]
        return found == [wanted]

    await wait_until(is_there, f"the job is {wanted}")
    process.send_signal(signal.SIGINT)
    out, told = await process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert told.decode().splitlines()[-1] == "the job is canceled"
    assert await runs.state("mine") == "canceled"


async def _known(runs: Runs) -> AsyncIterator[str]:
    try:
        yield await runs.state("mine")
    except NotFound:
        return


async def test_a_service_that_is_started_again_is_waited_for(
    runs: Runs, service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    process = await runs.start("x", "--id", "mine")
    assert process.stderr is not None
    await process.stderr.readline()
    service.kill()
    await process.stderr.readuntil(b"waiting to try again")
    await service.start()
    await start_worker(runs.url)
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"x")


async def test_a_terminal_shows_the_position_and_the_text_as_it_grows(
    runs: Runs, start_worker: StartWorker
) -> None:
    await runs.client.jobs.submit("before")
    terminal = Terminal("run", "svc", TEXT, "--url", runs.url, token=TOKEN)
    try:
        await terminal.until("queued, 1 ahead")
        options = {"stream": True, "piece_bytes": 8, "piece_delay_s": 0.15}
        await start_worker(runs.url, engine_options=options, window=1)
        await terminal.until("a text that")
        assert "for many pieces" not in terminal.shown
        assert await terminal.end() == 0
    finally:
        terminal.close()
    *_, result = terminal.shown.rstrip().splitlines()
    assert result.endswith(
        "a text that grows \u241b[2J and is long enough for many pieces \ufffd of it"
    )
    assert "\x1b[2J" not in terminal.shown


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"state": "queued", "position": 0}, "queued, next"),
        ({"state": "queued", "position": None}, "queued"),
        (
            {"state": "queued", "position": 7, "estimate": {"start": {"p50_s": 11.2}}},
            "queued, 7 ahead, starts in about 12 s",
        ),
        ({"state": "queued", "waiting_for": "resume"}, "queued, the service is paused"),
        ({"state": "queued", "scheduled": True, "not_before": "noon"}, "waiting until noon"),
        (
            {"state": "running", "attempt": 2, "estimate": {"finish": {"p50_s": 3}}},
            "running, attempt 2, done in about 3 s",
        ),
        ({"state": "running", "attempt": 1, "canceling": True}, "being canceled"),
    ],
)
def test_a_place_is_said_in_words(job: dict[str, object], words: str) -> None:
    assert place_of(job) == words
