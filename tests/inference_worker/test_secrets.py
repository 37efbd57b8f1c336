"""The worker's token stays with the worker: no engine, and nothing that one starts, finds it."""

import json

import pytest

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN

SPYING = "handler:tests.inference_worker.spying"


async def answer(url: str) -> bytes:
    async with AsyncQueueClient(url, "svc", token=TOKEN) as queue:
        await queue.put(b"x")
        (frame,) = await queue.sink.get(timeout_s=60)
        return frame.data


@pytest.mark.new_interpreters("a forked process has the environment of another in /proc")
async def test_a_handler_finds_no_setting_of_its_worker(
    start_service: StartService, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_REDIS_URL", "redis://:hunter2@127.0.0.1/0")
    monkeypatch.setenv("MODEL_PATH", "/models/mine")
    service = await start_service()
    await start_worker(service.url, engine=f"{SPYING}:environments")
    seen: dict[str, list[str]] = json.loads(await answer(service.url))
    assert len(seen) >= 4
    assert any(one.startswith("PENSTOCK_") for variables in seen.values() for one in variables)
    for where, variables in seen.items():
        # What the supervisor was started with is overwritten, and only the names are left.
        assert all(one.endswith("=") for one in variables if one.startswith("PENSTOCK_")), where
    for where in ("os.environ", "its child", "self"):
        assert seen[where] == ["MODEL_PATH=/models/mine"], where


async def test_no_other_process_may_look_into_a_worker(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    # In the worker's own process, to ask that one.
    await start_worker(service.url, engine=f"{SPYING}:dumpable", engine_process=False)
    assert await answer(service.url) == b"0"
