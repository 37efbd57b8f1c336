"""The unmodified client of OpenAI, in each version that people use, makes a batch and reads it."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.batches.conftest import batches_of, lines, names, stored
from tests.running import QueueServiceProcess
from tests.waiting import wait_until

ROOT = Path(__file__).parents[4]
#: `make openai2` installs the client before 3.0 here, beside that of the environment.
OLD = Path(os.environ.get("PENSTOCK_TEST_OPENAI2", ROOT / ".openai2"))
CLIENT = "tests.queue_service.web.batches.openai_client"
LINES = 200


@pytest.fixture
async def two(start_service: StartService, files_dir: Path) -> list[QueueServiceProcess]:
    """Run two replicas, which share the folder for files."""
    return [
        await start_service(files_dir=str(files_dir), files_reserve_mb=0, tick_ms=200)
        for _ in range(2)
    ]


@pytest.mark.leaves_subscribers
@pytest.mark.parametrize("version", ["2", "3"])
async def test_a_killed_client_goes_on_while_services_and_workers_are_killed(
    two: list[QueueServiceProcess],
    start_worker: StartWorker,
    files_dir: Path,
    tmp_path: Path,
    version: str,
) -> None:
    if version == "2" and not (OLD / "openai").is_dir():
        pytest.skip(f"there is no openai 2 in {OLD}: `make openai2` installs it")
    worker = await start_worker(two[1].url, engine="echo")
    path, out = tmp_path / "lines.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines(LINES)))

    async def start() -> asyncio.subprocess.Process:
        folders = [str(OLD)] if version == "2" else []
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", CLIENT, two[1].url, batches.token, str(path), str(out), "run"),
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*folders, str(ROOT)])},
            stdout=asyncio.subprocess.PIPE,
        )

    async with batches_of(two[1].url) as batches:
        client = await start()

        async def some_done() -> bool:
            found = [one async for one in batches.client.batches.list()]
            return bool(found and found[0].request_counts and found[0].request_counts.completed)

        await wait_until(some_done, "some lines are done", 120)
        client.kill()
        await client.wait()
        for victim in (two[0], worker):
            victim.kill()
            await victim.start()
        client = await start()
        told, _ = await client.communicate()
        outcome = json.loads(told)
        assert outcome["openai"].startswith(f"{version}.")
        assert outcome["status"] == "completed"
        assert outcome["counts"] == {"total": LINES, "completed": LINES, "failed": 0}
        assert names([json.loads(one) for one in out.read_text().splitlines()]) == names(
            lines(LINES)
        )
        await batches.delete_files()
    assert stored(files_dir) == []
