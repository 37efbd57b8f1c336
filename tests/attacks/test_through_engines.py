"""A client with a token to submit and read, and nothing else, attacks what is behind a service.

Whole: the client speaks HTTP to a real queue service, whose workers run real engines.  What the
single engines refuse is tried in tests/inference_worker.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartService, StartWorker
from tests.inference_worker.raw_server import RawServer
from tests.running import ADMIN_TOKEN, QueueServiceProcess, WorkerProcess
from tests.waiting import wait_until

#: The jobs keep their results, which the attacker is not to take away.
pytestmark = pytest.mark.leaves_entries

Open = Callable[..., Any]

MODEL = Path(__file__).parents[2] / "deploy" / "demo" / "model"
SPYING = "handler:tests.inference_worker.spying"
OPTIONS = {"torch_threads": 1, "device": "cpu"}


class Attacker:
    """Submits jobs with such a token, waits for each, and returns what it gets."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._jobs = f"{url}/v1/services/svc/jobs"

    async def submits(self, body: object, **options: str) -> str:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.post(self._jobs, data=data, params=options) as answer:
            return await answer.text()


@pytest.fixture
async def attacker() -> AsyncIterator[Open]:
    sessions: list[aiohttp.ClientSession] = []

    async def enter(service: QueueServiceProcess, *, owner: str = "team") -> Attacker:
        wish = {"name": "a team's", "scopes": ["submit", "read"], "owner": owner}
        headers = {"Authorization": ADMIN_TOKEN}
        async with (
            aiohttp.ClientSession(headers=headers) as operator,
            operator.post(f"{service.url}/v1/tokens", json=wish) as answer,
        ):
            token = (await answer.json())["token"]
        told = {
            "Authorization": token,
            "Prefer": "wait=40",
            "Content-Type": "application/json",
        }
        sessions.append(aiohttp.ClientSession(headers=told))
        return Attacker(sessions[-1], service.url)

    yield enter
    for session in sessions:
        await session.close()


async def loaded(worker: WorkerProcess) -> None:
    """Wait for a model; a busy machine takes its time to import torch."""
    ready = "Connected, with a window"
    await wait_until(lambda: ready in worker.log, "the model is loaded", timeout_s=150.0)


@pytest.mark.timeout(240)
async def test_a_pipeline_runs_no_code_and_opens_no_file(
    start_service: StartService, start_worker: StartWorker, attacker: Open, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    marker = tmp_path / "ran"
    repository = tmp_path / "repository" / "custom_generate"
    repository.mkdir(parents=True)
    (repository / "generate.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    harm = {"custom_generate": str(repository.parent), "trust_remote_code": True}
    service = await start_service()
    worker = await start_worker(
        service.url, engine=f"pipeline:text-generation:{MODEL}", engine_options=OPTIONS
    )
    await loaded(worker)
    client = await attacker(service)
    said = await client.submits({"inputs": "x", "parameters": harm})
    assert "custom_generate: a job may not set this" in said
    secret = tmp_path / "secret"
    secret.write_text("the text of a file")
    for part in ({"type": "image", "url": str(secret)}, {"type": "audio", "path": str(secret)}):
        chat = [{"role": "user", "content": [part]}]
        said = await client.submits({"inputs": chat})
        assert "BadInput" in said
        assert "the text of a file" not in said
    # The engine serves the next one as if nothing had been.
    said = await client.submits({"inputs": "x", "parameters": {"max_new_tokens": 1}})
    assert "generated_text" in said
    assert not marker.exists()


async def test_a_handler_tells_nothing_of_its_worker(
    start_service: StartService, start_worker: StartWorker, attacker: Open
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=f"{SPYING}:environments")
    seen: dict[str, list[str]] = json.loads(await (await attacker(service)).submits(b"x"))
    assert {one for told in seen.values() for one in told if not one.endswith("=")} <= {
        one for one in seen["os.environ"] if not one.startswith("PENSTOCK_")
    }


async def test_jobs_that_fail_in_a_row_end_no_job_of_another_team(
    start_service: StartService, start_worker: StartWorker, attacker: Open, tmp_path: Path
) -> None:
    pipe, begun = tmp_path / "pipe", tmp_path / "begun"
    os.mkfifo(pipe)
    service = await start_service()
    worker = await start_worker(service.url, engine=f"{SPYING}:Patient", sick_after="3")
    client, other = await attacker(service), await attacker(service, owner="other")
    waiting = asyncio.create_task(other.submits({"begun": str(begun), "pipe": str(pipe)}))
    await wait_until(begun.exists, "the other team's job runs")
    for _ in range(4):
        assert "RuntimeError" in await client.submits({}, max_attempts="1")
    # It has been waiting in its first attempt all the time, and gets what is written now.
    await asyncio.to_thread(pipe.write_text, "done")
    assert "done" in await waiting
    assert begun.read_text() == "begun"
    assert "the worker pauses" not in worker.log
    # Nor does the next job of the other team find a worker that rests: its last one has succeeded.
    for _ in range(3):
        await client.submits({}, max_attempts="1")
    assert "the worker pauses" not in worker.log


async def test_a_server_is_asked_for_nothing_but_what_its_operator_offers(
    start_service: StartService, start_worker: StartWorker, attacker: Open
) -> None:
    server = RawServer()
    await server.start()
    try:
        service = await start_service()
        options = {
            "url": server.url,
            "path": "/model",
            "send_headers": {"Authorization": "Bearer of the operator"},
        }
        await start_worker(service.url, engine="http", engine_options=options)
        client = await attacker(service)
        for path in ("admin", "..;/admin", "..%5Cadmin", "%2e%2e/admin", "a/../../admin"):
            said = await client.submits({"a": 1}, path=path)
            assert "the server answered" not in said
            assert "Bearer" not in said
        assert "a" in await client.submits({"a": 1})
        assert [request.target for request in server.received] == ["/model"]
    finally:
        await server.stop()


@pytest.mark.timeout(240)
async def test_a_chat_brings_no_program(
    start_service: StartService, start_worker: StartWorker, attacker: Open
) -> None:
    pytest.importorskip("transformers")
    service = await start_service()
    worker = await start_worker(service.url, engine=f"transformers:{MODEL}", engine_options=OPTIONS)
    await loaded(worker)
    client = await attacker(service)
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "What is a sink?"}]}
    program = "{% for turn in range(9999999) %}{{ turn }}{% endfor %}"
    wishes: list[dict[str, Any]] = [
        {"chat_template_kwargs": {"chat_template": program}},
        {"chat_template_kwargs": {"tokenizer_kwargs": {}}},
        {"chat_template": program},
        {"trust_remote_code": True},
        {"generation_config": {}},
        {"model_kwargs": {}},
    ]
    for wish in wishes:
        assert "BadInput" in await client.submits({**chat, **wish})
