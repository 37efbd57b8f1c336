"""`penstock map` over a folder: a result for each file, under its name, whole or not at all."""

import asyncio
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

HANDLER = "handler:tests.deploy.commands.map_handlers:"


class FolderMap:
    """One `penstock map` over a folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self.inputs, self.outputs, self.url = folder / "in", folder / "out", url
        self.inputs.mkdir()

    def add(self, **files: bytes) -> None:
        """Write files; `__` in a name is a slash, and one `_` a dot."""
        for name, data in files.items():
            self.write(name.replace("__", "/").replace("_", "."), data)

    def write(self, name: str, data: bytes) -> None:
        path = self.inputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    async def start(self, *options: str, limit_bytes: int = 0) -> asyncio.subprocess.Process:
        """limit_bytes: of any file that it writes, as a disk that is full."""

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

        words = ["svc", str(self.inputs), str(self.outputs), *options, "--url", self.url]
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "map", *words),
            env={**os.environ, "PENSTOCK_TOKEN": TOKEN},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=limited if limit_bytes else None,
        )

    async def run(self, *options: str, limit_bytes: int = 0) -> tuple[int, str]:
        """Return the exit code, and what was said."""
        process = await self.start(*options, limit_bytes=limit_bytes)
        out, told = await process.communicate()
        assert process.returncode is not None
        return process.returncode, (out + told).decode()

    def results(self) -> dict[str, bytes]:
        """What a user sees in the folder of results."""
        return {
            path.relative_to(self.outputs).as_posix(): path.read_bytes()
            for path in sorted(self.outputs.rglob("*"))
            if path.is_file() and ".penstock-map" not in path.parts
        }

    def journal(self) -> list[dict[str, Any]]:
        path = self.outputs / ".penstock-map" / "journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
async def service(start_service: StartService, tmp_path: Path) -> QueueServiceProcess:
    return await start_service(files_dir=str(tmp_path / "kept"), files_reserve_mb=0)


@pytest.fixture
def mapping(service: QueueServiceProcess, tmp_path: Path) -> FolderMap:
    return FolderMap(tmp_path, service.url)


async def test_each_file_becomes_a_result_with_its_name(
    mapping: FolderMap, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url)
    picture = b"\x89PNG\r\n\x1a\n" + os.urandom(300_000)
    mapping.add(
        a_json=b'{"n": 1}',
        b_txt=b"text",
        c_png=picture,
        sub__deep__c_bin=bytes(range(256)),
        empty_txt=b"",
        _hidden_txt=b"no",
        cat_png=b"one",
        cat_jpg=b"two",
        cat_png_txt=b"three",
    )
    code, told = await mapping.run()
    assert code == 0, told
    expected = {
        "a.json": b'{"n": 1}',
        "b.txt": b"text",
        "c.png": picture,
        "sub/deep/c.bin": bytes(range(256)),
        "cat.png.txt": b"one",
        "cat.jpg.txt": b"two",
        "cat.png.txt.txt": b"three",
    }
    assert {name: data for name, data in mapping.results().items() if data} == expected
    assert [name for name, data in mapping.results().items() if not data] == ["empty.txt"]
    code, told = await mapping.run("--json")
    assert code == 0
    assert "8 of 8 are already done" in told
    async with AsyncQueueClient(mapping.url, "svc", token=TOKEN) as client:
        assert await client.count() + await client.sink.count() == 0


async def test_folders_and_results_do_not_get_into_each_others_way(
    mapping: FolderMap, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url)
    mapping.write("a", b"one")
    mapping.write("a.txt/b", b"two")
    mapping.outputs = mapping.inputs / "results"
    for _ in range(2):
        code, told = await mapping.run()
        assert code == 0, told
        assert mapping.results() == {"a-2.txt": b"one", "a.txt/b.txt": b"two"}
    assert "2 of 2 are already done" in told, "results are no inputs"


async def test_a_full_disk_is_said_and_the_next_run_goes_on(
    mapping: FolderMap, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url)
    mapping.write("a.bin", b"\xff" * 300_000)
    code, told = await mapping.run(limit_bytes=100_000)
    assert code == 1
    assert "cannot write" in told
    assert "File too large" in told
    assert mapping.results() == {}
    assert (await mapping.run())[0] == 0
    assert mapping.results() == {"a.bin": b"\xff" * 300_000}


async def test_files_that_come_later_are_mapped_and_nothing_else(
    mapping: FolderMap, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url)
    mapping.add(cat_png=b"one")
    assert (await mapping.run())[0] == 0
    mapping.add(cat_jpg=b"two", dog_txt=b"three")
    (mapping.outputs / "dog.txt").write_bytes(b"of somebody else")
    code, told = await mapping.run()
    assert code == 0, told
    assert "1 of 3 are already done" in told
    assert mapping.results() == {
        "cat.txt": b"one",
        "cat.jpg.txt": b"two",
        "dog.txt": b"of somebody else",
        "dog-2.txt": b"three",
    }
    # A file that has changed is mapped again, and so is one whose result is gone.
    mapping.add(cat_png=b'{"now": "JSON"}')
    (mapping.outputs / "dog-2.txt").unlink()
    assert (await mapping.run())[0] == 0
    assert mapping.results() == {
        "cat.json": b'{"now": "JSON"}',
        "cat.jpg.txt": b"two",
        "dog.txt": b"of somebody else",
        "dog-2.txt": b"three",
    }


async def test_a_file_goes_into_one_input_of_the_handler(
    mapping: FolderMap, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url, engine=f"{HANDLER}Sizes")
    mapping.add(a_png=b"x" * 100, b_png=b"x" * 200_000, c_txt=b"fail")
    code, told = await mapping.run("--field", "image")
    assert code == 1, told
    assert "c.txt: " in told
    found = {name: json.loads(data) for name, data in mapping.results().items()}
    assert found == {
        "a.json": {"size": 100, "suffix": ".png"},
        "b.json": {"size": 200_000, "suffix": ".png"},
    }
    (failed,) = [one for one in mapping.journal() if one.get("state") == "failed"]
    assert (failed["file"], failed["error"]["code"]) == ("c.txt", "BadInput")
    mapping.add(c_txt=b"fine")
    assert (await mapping.run("--field", "image"))[0] == 0, "it has changed"
    code, told = await mapping.run()
    assert code == 1
    assert "expected field 'image' as before, got field ''" in told
    async with AsyncQueueClient(mapping.url, "svc", token=TOKEN) as client:
        assert [file async for file in client.files.list()] == [], "uploads are gone"


async def test_an_input_that_does_not_fit_the_schema_fails_alone(
    mapping: FolderMap, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url, engine=f"{HANDLER}Sizes")
    mapping.add(a_png=b"x")

    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:

        async def is_typed() -> bool:
            async with session.get(f"{mapping.url}/v1/services/svc/schema") as answer:
                return answer.status == 200

        await wait_until(is_typed, "the service knows the schema")
    code, told = await mapping.run("--field", "picture")
    assert code == 1, told
    assert "0 succeeded and 1 failed of 1" in told
    assert mapping.journal()[-1]["error"]["code"] == "INVALID_INPUT"


async def test_failed_files_are_sent_again_when_asked_for(
    mapping: FolderMap, start_worker: StartWorker
) -> None:
    options = {"fail_every": 2, "fail_retryable": False}
    await start_worker(mapping.url, engine_options=options, window=1)
    mapping.add(a_txt=b"a", b_txt=b"b", c_txt=b"c")
    code, told = await mapping.run()
    assert code == 1
    assert "journal.jsonl has the error" in told
    failed = 3 - len(mapping.results())
    assert failed >= 1
    assert (await mapping.run())[0] == 1, "they stay failed"
    while (await mapping.run("--retry-failed"))[0] == 1:
        assert len(mapping.results()) < 3
    assert set(mapping.results().values()) == {b"a", b"b", b"c"}


async def test_a_file_that_cannot_be_read_fails_alone(
    mapping: FolderMap, start_worker: StartWorker
) -> None:
    await start_worker(mapping.url)
    mapping.add(a_txt=b"a")
    (mapping.inputs / "nothing.txt").symlink_to(mapping.inputs / "absent")
    os.mkfifo(mapping.inputs / "pipe")
    code, told = await mapping.run()
    assert code == 1
    assert "nothing.txt: cannot read" in told
    assert "1 succeeded and 1 failed of 2" in told
    assert mapping.results() == {"a.txt": b"a"}


async def test_what_is_no_folder_of_files_is_said(mapping: FolderMap) -> None:
    code, told = await mapping.run()
    assert code == 0, told
    assert "0 succeeded and 0 failed of 0" in told
    mapping.add(a_txt=b"a")
    for options, sentence in ((("--ordered",), "--ordered is for files of lines"),):
        code, told = await mapping.run(*options)
        assert code == 2
        assert sentence in told
    outputs, mapping.outputs = mapping.outputs, mapping.inputs
    assert (await mapping.run())[0] == 2
    mapping.outputs = mapping.inputs / "a.txt"
    assert (await mapping.run())[0] == 2
    mapping.outputs, mapping.inputs = outputs, mapping.inputs / "a.txt"
    assert (await mapping.run("--field", "image"))[0] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_an_ended_map_goes_on_and_shows_no_part(
    mapping: FolderMap, start_worker: StartWorker, number: signal.Signals
) -> None:
    await start_worker(mapping.url, engine_options={"delay_s": 0.1}, window=4)
    contents = {f"f{n}.bin": b"\xff" + bytes([n]) * 100_000 for n in range(24)}
    for name, data in contents.items():
        mapping.write(name, data)
    process = await mapping.start("--in-flight", "6")
    await wait_until(lambda: mapping.outputs.exists() and len(mapping.results()) >= 4, "some")
    process.send_signal(number)
    await process.communicate()
    found = mapping.results()
    assert 4 <= len(found) < 24
    # As a kill leaves the journal.
    with (mapping.outputs / ".penstock-map" / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"file": "f1')
    code, told = await mapping.run()
    assert code == 0, told
    assert mapping.results() == contents
    assert list((mapping.outputs / ".penstock-map" / "parts").iterdir()) == []


async def test_two_maps_do_not_write_one_folder(
    mapping: FolderMap, start_worker: StartWorker
) -> None:
    mapping.add(a_txt=b"a")
    first = await mapping.start()
    journal = mapping.outputs / ".penstock-map" / "journal.jsonl"
    await wait_until(lambda: journal.exists() and journal.stat().st_size > 0, "it has begun")
    code, told = await mapping.run()
    assert code == 1
    assert "another `penstock map` is already writing" in told
    await start_worker(mapping.url)
    assert await first.wait() == 0
