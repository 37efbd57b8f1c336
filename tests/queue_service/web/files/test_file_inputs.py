"""A file as an input, on each way and through each API that has it."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator

from queue_service.web import references
from tests.conftest import Serve, StartWorker
from tests.queue_service.web.files.test_references import PICTURE, Bench
from tests.waiting import wait_until

HANDLER = "handler:tests.queue_service.web.files.file_handlers:measure"
URL = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
MESSAGES = [{"role": "user", "content": "x"}]
MADE = {"suffix": ".png", "bytes": len(PICTURE)}


@pytest.fixture
async def bench(serve: Serve, start_worker: StartWorker, tmp_path: Path) -> AsyncIterator[Bench]:
    url = await serve(
        {"name": "svc"}, files_dir=str(tmp_path / "files"), files_reserve_mb=0, lease_ms=2000
    )
    worker = await start_worker(url, engine=HANDLER)
    async with aiohttp.ClientSession() as session:
        bench = Bench(session, url, tmp_path / "files")

        async def is_declared() -> bool:
            return (await bench.ask("GET", f"{url}/v1/services/svc/schema"))[0] == 200

        await wait_until(is_declared, "the worker has declared its inputs", 60)
        yield bench
        # The service of this process looks for what is left before the workers of the test end.
        await worker.stop()


async def result_of(bench: Bench, status: int, body: bytes) -> Any:
    """Return what the job made that an answer names; it is deleted then."""
    assert status in (200, 202), body
    job = f"{bench.jobs}/{json.loads(body)['id']}"
    made = await bench.ask("GET", f"{job}/result?wait=60s")
    await bench.ask("DELETE", job)
    assert made[0] == 200, made
    return json.loads(made[1])


async def test_each_way_of_sending_a_file_works_through_each_api(bench: Bench) -> None:
    upload = await bench.upload()
    ndjson = {"Content-Type": "application/x-ndjson"}
    for image in (URL, {"$file": upload}):
        asked = {"image": image}
        put = await bench.ask("PUT", f"{bench.jobs}/one", json.dumps(asked))
        assert await result_of(bench, *put) == MADE
        line = json.dumps({"input": asked, "id": "two"})
        status, told = await bench.ask("POST", bench.jobs, line, headers=ndjson)
        assert await result_of(bench, status, told) == MADE
        chat = json.dumps({"model": "svc", "messages": MESSAGES, **asked})
        status, told = await bench.ask("POST", f"{bench.url}/v1/chat/completions", chat)
        assert status == 200, told
        assert json.loads(json.loads(told)["choices"][0]["message"]["content"]) == MADE
    form = aiohttp.FormData()
    form.add_field("image", PICTURE, filename="cat.png", content_type="image/png")
    assert await result_of(bench, *await bench.ask("POST", bench.jobs, form)) == MADE
    await bench.ask("DELETE", f"{bench.url}/v1/files/{upload}")
    await wait_until(bench.is_empty, "the files went with their jobs")


async def test_what_is_no_file_is_refused_with_its_path(bench: Bench) -> None:
    for image in (
        "/etc/passwd",
        "https://a.example/cat.png",
        3,
        {"file": "1"},
        {"$file": 3},
        [URL],
    ):
        status, told = await bench.ask("POST", bench.jobs, json.dumps({"image": image}))
        problem = json.loads(told)
        assert (status, problem["code"]) == (422, "INVALID_INPUT")
        assert problem["errors"][0]["path"].startswith("/image")


async def test_the_published_schema_says_so(bench: Bench) -> None:
    _, told = await bench.ask("GET", f"{bench.url}/v1/services/svc/schema")
    schema = json.loads(told)["input"]["schema"]
    valid = Draft202012Validator(schema)
    for image in (URL, {"$file": "file_1"}):
        valid.validate({"image": image})
    for wrong in ("/etc/passwd", {"$file": 3}, {}, 3):
        assert not valid.is_valid({"image": wrong})


async def test_a_large_json_input_that_names_files_is_refused_before_it_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "MOST_READ_BYTES", 200_000)
    upload = await bench.upload()
    padding = "x" * 300_000
    for asked in (
        {"padding": padding, "image": {"$file": upload}},
        {"image": {"$file": upload}, "padding": padding},
    ):
        status, told = await bench.ask("POST", bench.jobs, json.dumps(asked))
        assert (status, json.loads(told)["code"]) == (413, "FRAME_TOO_BIG")
        assert b"POST /v1/files" in told
    # What only looks like a reference is a text, and stays as it is.
    asked = {"image": URL, "text": json.dumps({"$file": upload}), "padding": padding}
    status, told = await bench.ask("POST", bench.jobs, json.dumps(asked))
    assert await result_of(bench, status, told) == MADE
    await bench.ask("DELETE", f"{bench.url}/v1/files/{upload}")
    await wait_until(bench.is_empty, "nothing is left of what was refused")
