"""`penstock batch`: made, followed, interrupted, canceled, and its results fetched."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.deploy.commands.test_stream_commands import Penstock
from tests.deploy.terminal import Terminal
from tests.running import TOKEN

OBEDIENT = "handler:tests.queue_service.web.batches.handlers:Obedient"


def line(number: int, text: str = "hello") -> dict[str, Any]:
    body = {"model": "svc", "messages": [{"role": "user", "content": text}]}
    begin = {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/chat/completions"}
    return {**begin, "body": body}


@pytest.fixture
async def penstock(start_service: StartService, tmp_path: Path) -> AsyncIterator[Penstock]:
    service = await start_service(files_dir=str(tmp_path / "kept"), files_reserve_mb=0)
    yield Penstock(service.url)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        async for file in client.files.list():
            await client.files.delete(file.id)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Two lines that are answered, and one that fails."""
    path = tmp_path / "lines.jsonl"
    asked = [line(0), line(1, "fail"), line(2)]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in asked))
    return path


def names(path: Path) -> list[str]:
    return sorted(json.loads(one)["custom_id"] for one in path.read_text().splitlines())


async def test_a_batch_is_submitted_followed_and_fetched(
    penstock: Penstock, start_worker: StartWorker, lines: Path, tmp_path: Path
) -> None:
    await start_worker(penstock.url, engine=OBEDIENT)
    code, batch_id = await penstock.run("batch", "submit", str(lines))
    assert (code, batch_id[:6]) == (0, "batch_")
    code, out = await penstock.run("batch", "status", batch_id, "--wait", "--json")
    assert code == 1, "a line failed"
    assert json.loads(out)["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    code, out = await penstock.run("batch", "status", batch_id)
    assert code == 0
    assert "answered: 2 of 3" in out
    assert "failed:   1" in out
    assert batch_id in (await penstock.run("batch", "list"))[1]
    code, out = await penstock.run("batch", "list", "--json")
    assert [json.loads(one)["id"] for one in out.splitlines()] == [batch_id]

    answers, errors = tmp_path / "answers.jsonl", tmp_path / "errors.jsonl"
    get = ("batch", "get", batch_id, "-o")
    assert await penstock.run(*get, str(answers)) == (0, str(answers))
    assert names(answers) == ["line-0", "line-2"]
    assert await penstock.run(*get, str(errors), "--errors") == (0, str(errors))
    assert names(errors) == ["line-1"]
    assert (await penstock.run(*get, str(answers)))[0] == 0, "it goes on with what is there"
    assert (await penstock.run(*get, str(lines)))[0] == 2, "it is something else"
    assert (await penstock.run(*get, str(lines), "--force"))[0] == 0
    code, out = await penstock.run(*get, "-")
    assert len(out.splitlines()) == 3
    code, out = await penstock.run(*get, "-", "--errors")
    assert json.loads(out)["custom_id"] == "line-1"
    assert (await penstock.run(*get, str(tmp_path / "no" / "x")))[0] == 2
    assert (await penstock.run("batch", "get", batch_id, "--follow"))[0] == 2
    assert (await penstock.run("batch", "cancel", batch_id))[0] == 1, "it has ended"
    assert (await penstock.run("batch", "status", "batch_unknown"))[0] == 1


async def test_a_wrong_line_is_found_before_anything_is_sent(
    penstock: Penstock, tmp_path: Path
) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(f"{json.dumps(line(0))}\n{{\n")
    process = await penstock.start("batch", "submit", str(path))
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"line 2: expected a JSON value" in said
    path.write_text(f"{json.dumps(line(0))}\n{json.dumps({**line(1), 'method': 'GET'})}\n")
    code, out = await penstock.run("batch", "submit", str(path), "--wait", "--json")
    assert code == 1
    assert json.loads(out)["status"] == "failed"
    assert (await penstock.run("batch", "submit", str(path), "--window", "soon"))[0] == 1
    assert (await penstock.run("batch", "submit", str(path), "--metadata", "x"))[0] == 2
    listed = (await penstock.run("batch", "list", "--json"))[1]
    assert len(listed.splitlines()) == 1


async def test_lines_come_from_a_pipe_and_results_go_into_one(
    penstock: Penstock, start_worker: StartWorker, tmp_path: Path
) -> None:
    going = tmp_path / "going"
    await start_worker(penstock.url, engine=OBEDIENT)
    path = tmp_path / "lines.jsonl"
    path.write_text(f"{json.dumps(line(0))}\n\n{json.dumps(line(1, f'wait {going}'))}\n")
    with path.open("rb") as pipe:
        process = await penstock.start("batch", "submit", "-", stdin=pipe)
        out, told = await process.communicate()
    assert process.returncode == 0, told
    batch_id = out.decode().strip()
    assert (await penstock.run("batch", "status", batch_id, "--wait", "--timeout", "0"))[0] == 3
    process = await penstock.start("batch", "get", batch_id, "-o", "-", "--follow")
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline())["custom_id"] == "line-0"
    going.touch()
    assert json.loads(await process.stdout.readline())["custom_id"] == "line-1"
    assert await process.wait() == 0
    assert (await penstock.run("batch", "status", batch_id, "--wait"))[0] == 0


async def test_a_batch_is_canceled(penstock: Penstock, lines: Path) -> None:
    _, batch_id = await penstock.run("batch", "submit", str(lines))
    code, out = await penstock.run("batch", "cancel", batch_id)
    assert (code, out.split(":")[0]) == (0, "cancelling")
    code, out = await penstock.run("batch", "status", batch_id, "--wait")
    assert code == 1
    assert re.search("status: +cancelled", out)


@pytest.mark.timeout(180)
async def test_ctrl_c_leaves_the_batch_running_and_says_how_to_go_on(
    penstock: Penstock, start_worker: StartWorker, tmp_path: Path
) -> None:
    going, path = tmp_path / "going", tmp_path / "lines.jsonl"
    await start_worker(penstock.url, engine=OBEDIENT)
    asked = [*(line(number) for number in range(3)), line(3, f"wait {going}")]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in asked))
    words = ("batch", "submit", str(path), "--wait", "--url", penstock.url)
    terminal = Terminal(*words, token=TOKEN, columns=80)
    try:
        await terminal.until("3 of 4,")
        terminal.type("\x03")
        assert await terminal.end() == 130
    finally:
        terminal.close()
    shown = terminal.shown
    (batch_id,) = set(re.findall("batch_[0-9a-f]{32}", shown))
    # Each in one line, to copy.
    assert f"penstock batch status {batch_id} --wait\r\n" in shown
    assert f"penstock batch cancel {batch_id}" in shown
    going.touch()
    assert (await penstock.run("batch", "status", batch_id, "--wait"))[0] == 0


async def test_a_killed_download_goes_on(
    penstock: Penstock, start_worker: StartWorker, lines: Path, tmp_path: Path
) -> None:
    await start_worker(penstock.url, engine=OBEDIENT)
    _, batch_id = await penstock.run("batch", "submit", str(lines), "--wait")
    batch_id = batch_id.splitlines()[0]
    target = tmp_path / "answers.jsonl"
    await penstock.run("batch", "get", batch_id, "-o", str(target))
    complete = target.read_bytes()
    # As a kill leaves it: a torn line, beside the file.
    target.rename(tmp_path / ".answers.jsonl.part")
    with (tmp_path / ".answers.jsonl.part").open("r+b") as part:
        part.truncate(len(complete) - 7)
    assert (await penstock.run("batch", "get", batch_id, "-o", str(target)))[0] == 0
    assert target.read_bytes() == complete
