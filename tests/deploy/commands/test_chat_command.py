"""`penstock chat`: on a terminal and from a pipe, stopped, and with services that are not there."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import pytest

from client_sdk import AsyncQueueClient
from deploy.commands.conversation import text_of
from tests.conftest import StartService, StartWorker
from tests.deploy.terminal import Terminal
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

#: Answers in pieces, with the number of messages that it got and the last of them.
TALKER = "handler:tests.deploy.talker:Talker"


async def chat(url: str, *words: str, said: str = "", token: str = TOKEN) -> tuple[int, str, str]:
    """Run a chat whose questions come from a pipe."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.entry", "chat", *words, "--url", url),
        env={**os.environ, "PENSTOCK_TOKEN": token},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, told = await process.communicate(said.encode())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), told.decode()


@pytest.fixture
async def client(service: QueueServiceProcess) -> AsyncIterator[AsyncQueueClient]:
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as opened:
        yield opened


async def test_each_line_of_a_pipe_is_answered_with_what_was_said_before(
    service: QueueServiceProcess, start_worker: StartWorker, client: AsyncQueueClient
) -> None:
    await start_worker(service.url, engine=TALKER)
    options = ("--system", "be brief", "--temperature", "0.5", "--max-tokens", "7")
    code, out, told = await chat(service.url, *options, said="first\n\nsecond é\n")
    assert code == 0, told
    assert out.splitlines() == [
        "system be brief; temperature 0.5; max_tokens 7; 1 said; first",
        "system be brief; temperature 0.5; max_tokens 7; 3 said; second é",
    ]
    assert await client.sink.count() == 0, "its jobs are forgotten"


async def test_a_question_without_an_answer_is_said_and_forgotten(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url, engine=TALKER)
    code, out, told = await chat(service.url, "svc", said=f"fail\n{'x' * 9000}\nlast\n")
    assert code == 1
    assert out.splitlines() == ["1 said; last"]
    assert "no answer: I do not want to" in told
    assert "expected a payload of at most 8192 bytes" in told


async def test_a_terminal_talks_stops_an_answer_and_goes_on(
    service: QueueServiceProcess, start_worker: StartWorker, client: AsyncQueueClient
) -> None:
    await start_worker(service.url, engine=TALKER)
    terminal = Terminal("chat", "--url", service.url, token=TOKEN)
    try:
        await terminal.until("> ")
        terminal.type("hello\n")
        await terminal.until("1 said; hello")
        await terminal.until("> ", count=2)
        terminal.type("slow\n")
        await terminal.until("3 said; slow: one")
        terminal.type("\x03")
        await terminal.until("[stopped: the job is canceled]")
        await terminal.until("> ", count=3)
        terminal.type("escape\n")
        await terminal.until("5 said; \u241b[2J\u2407 here")
        await terminal.until("> ", count=4)
        terminal.type("/new\n")
        await terminal.until("> ", count=5)
        terminal.type("anew\n")
        await terminal.until("1 said; anew")
        await terminal.until("> ", count=6)
        terminal.type("\x04")
        assert await terminal.end() == 0
    finally:
        terminal.close()
    assert "\x1b[2J" not in terminal.shown
    assert await client.sink.count() == 0


async def test_a_terminal_shows_the_position_and_a_stop_there_cancels(
    service: QueueServiceProcess, client: AsyncQueueClient
) -> None:
    before = await client.jobs.submit("before")
    terminal = Terminal("chat", "svc", "--url", service.url, token=TOKEN)
    try:
        await terminal.until("> ")
        terminal.type("hello\n")
        await terminal.until("queued, 1 ahead")
        terminal.type("\x03")
        await terminal.until("[stopped: the job is canceled]")
        await terminal.until("> ", count=2)
        assert await terminal.interrupt_prompt() == 130
    finally:
        terminal.close()

    async def alone() -> bool:
        return await client.count() == 1

    await wait_until(alone, "only the other's job is in line")
    await client.jobs.delete(before.id)


async def test_the_only_service_is_taken_and_others_are_listed(start_service: StartService) -> None:
    two = await start_service({"name": "one"}, {"name": "two"})
    code, _, told = await chat(two.url)
    assert code == 2
    assert "expected the name of a service, got none; the services are one, two" in told
    code, _, told = await chat(two.url, token="wrong")
    assert code == 1
    assert "401" in told
    assert "{" not in told, "a sentence and no JSON"
    code, _, told = await chat(two.url, "three", said="x\n")
    assert code == 1
    assert "NO_SUCH_SERVICE" in told
    code, _, told = await chat("http://127.0.0.1:1")
    assert code == 4


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("plain", "plain"),
        ('"quoted"', "quoted"),
        ('{"text": "ours", "usage": {}}', "ours"),
        (json.dumps({"choices": [{"message": {"content": "theirs"}}]}), "theirs"),
        (json.dumps({"choices": [{"text": "old"}]}), "old"),
        (json.dumps({"messages": [{"content": "a"}, {"content": "echo"}]}), "echo"),
        ('{"other": 1}', '{"other": 1}'),
        ("[1]", "[1]"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_the_answer_in_a_result_is_found(result: str, text: str) -> None:
    assert text_of(result) == text
