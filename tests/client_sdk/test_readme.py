"""The examples of docs/python-client.md do what they say."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, QueueServiceProcess

PAGE = Path(__file__).parents[2] / "docs" / "python-client.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(autouse=True)
def _tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder in which the tokens are where `penstock up` puts them."""
    (tmp_path / ".penstock").mkdir()
    for name in ("token", "worker-token"):
        (tmp_path / ".penstock" / name).write_text(f"{TOKEN}\n")
    monkeypatch.chdir(tmp_path)


async def run(example: str, service: QueueServiceProcess) -> str:
    """Run an example as a script against this service and return what it prints."""
    script = example.replace("http://127.0.0.1:8080", service.url).replace('"demo"', '"svc"')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def test_the_page_has_seven_examples() -> None:
    assert len(EXAMPLES) == 7


async def test_the_clients_examples_work(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url)
    answers = (await run(EXAMPLES[0], service)).splitlines()
    assert len(answers) == 200
    assert all("times" in answer for answer in answers)
    printed = await run(EXAMPLES[3], service)
    assert "b'What is a sink?' ann" in printed
    await run(EXAMPLES[4], service)
    assert "FRAME_TOO_BIG 413" in await run(EXAMPLES[5], service)


async def test_the_example_of_files_works(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(files_dir=str(tmp_path / "kept"), files_reserve_mb=0)
    printed = await run(EXAMPLES[1], service)
    assert printed.startswith("file_")
    assert (tmp_path / "copy.txt").read_text() == "What is a sink?"


async def test_the_example_of_batches_works(
    start_service: StartService, start_worker: StartWorker, tmp_path: Path
) -> None:
    service = await start_service(files_dir=str(tmp_path / "kept"), files_reserve_mb=0)
    await start_worker(service.url)
    printed = await run(EXAMPLES[2], service)
    assert "What is a sink?" in printed
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        async for file in client.files.list():
            await client.files.delete(file.id)


@pytest.mark.leaves_entries
async def test_the_workers_example_works(service: QueueServiceProcess) -> None:
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        receipt = await client.put(b"quiet")
        await run(EXAMPLES[6], service)
        (frame,) = await client.sink.get(request_id=receipt.request_id)
    assert frame.data == b"QUIET"
