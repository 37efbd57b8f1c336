"""The commands in docs/command-line.md do what the page says."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import StartService, StartWorker
from tests.running import TOKEN

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"


@pytest.mark.leaves_entries
async def test_the_commands_of_the_page_work(
    start_service: StartService, start_worker: StartWorker, tmp_path: Path
) -> None:
    service = await start_service({"name": "demo"})
    await start_worker(service.url, "demo")
    (commands, *_) = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    function = f'set -e\npenstock() {{ "{sys.executable}" -m deploy.entry "$@"; }}\n'
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", function + commands),
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(PAGE.parents[1]),
            "PENSTOCK_URL": service.url,
            "PENSTOCK_TOKEN": TOKEN,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    assert out.decode().startswith("What is a sink?{")
    assert out.decode().endswith('"output": {"n": 1}}\na long oneWhat is a sink?\n')
    assert b"2 succeeded and 0 failed of 2" in told
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
