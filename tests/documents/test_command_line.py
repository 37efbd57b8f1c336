"""The commands in docs/command-line.md do what the page says."""

import asyncio
import json
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


@pytest.mark.leaves_entries
async def test_the_lines_of_a_map_are_those_of_the_page(
    start_service: StartService,
    start_worker: StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    expected = [json.loads(line) for line in example.splitlines()]
    (tmp_path / "even.py").write_text(
        "def predict(text: str) -> str:\n"
        "    if text == 'second':\n"
        "        raise ValueError('expected an even n')\n"
        "    return text\n"
    )
    (tmp_path / "in.jsonl").write_text('"first"\n"second"\n')
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{PAGE.parents[1]}")
    service = await start_service({"name": "demo", "max_delivery": 1})
    await start_worker(service.url, "demo", engine="handler:even:predict")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.entry", "map", "demo", "in.jsonl", "out.jsonl"),
        *("--ordered", "--url", service.url, "--token", TOKEN),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 1, told.decode()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for line in lines:
        line["id"] = f"map-...-{line['number']}"
    assert lines == expected
