"""`penstock files`, and files as the input and the output of `run`: in pieces, to the byte."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.conftest import StartService, StartWorker
from tests.deploy.commands.test_stream_commands import Penstock

CONTENT = os.urandom(1_500_000)


@pytest.fixture
async def penstock(start_service: StartService, tmp_path: Path) -> Penstock:
    limits = {"max_payload_size_kb": 4096}
    service = await start_service(
        {"name": "svc", "input": limits, "sink": limits},
        files_dir=str(tmp_path / "kept"),
        files_reserve_mb=0,
    )
    return Penstock(service.url)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


async def test_files_go_up_are_listed_come_back_and_go(
    penstock: Penstock, film: Path, tmp_path: Path
) -> None:
    code, out = await penstock.run("files", "upload", str(film), str(film), "--purpose", "demo")
    assert code == 0
    first, second = out.splitlines()
    code, out = await penstock.run("files", "ls", "--purpose", "demo", "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == [second, first]
    assert "film.mp4" in (await penstock.run("files", "ls"))[1]
    assert "video/mp4" in (await penstock.run("files", "show", first))[1]

    target = tmp_path / "copy.mp4"
    assert await penstock.run("files", "get", first, "-o", str(target)) == (0, str(target))
    assert target.read_bytes() == CONTENT
    assert (await penstock.run("files", "get", first, "-o", str(target)))[0] == 2, "it exists"
    code, _ = await penstock.run("files", "get", first, "-o", str(target), "--force")
    assert code == 0
    absent = str(tmp_path / "no" / "where")
    assert (await penstock.run("files", "get", first, "-o", absent))[0] == 2

    assert (await penstock.run("files", "rm", first))[0] != 0, "nobody said --yes"
    assert (await penstock.run("files", "rm", first, second, "--yes"))[0] == 0
    assert await penstock.run("files", "ls", "--json") == (0, "")
    assert (await penstock.run("files", "get", first))[0] == 1


@pytest.mark.leaves_entries
async def test_a_job_reads_a_file_and_its_result_becomes_one(
    penstock: Penstock, film: Path, tmp_path: Path, start_worker: StartWorker
) -> None:
    await start_worker(penstock.url)
    target = tmp_path / "out.mp4"
    code, _ = await penstock.run("run", "svc", "--file", str(film), "--output", str(target))
    assert code == 0
    assert target.read_bytes() == CONTENT
    with film.open("rb") as pipe:
        piped = await penstock.start("put", "svc", "-", "--wait", stdin=pipe)
        out, _ = await asyncio.wait_for(piped.communicate(), 60)
    assert out == CONTENT
    code, _ = await penstock.run(
        "run", "svc", "--file", str(film), "-o", str(tmp_path / "no" / "x")
    )
    assert code == 1
