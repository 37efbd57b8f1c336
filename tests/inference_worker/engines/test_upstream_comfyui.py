"""The mode `comfyui`: workflows in, progress on the way, pictures out."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from client_sdk import AsyncQueueClient
from inference_worker.engines.engine import Artifact, Event, Failed, Finished, Job, Progress
from tests.conftest import StartService, StartWorker
from tests.inference_worker.engines.comfyui_server import PICTURE, ComfyUI
from tests.inference_worker.engines.test_upstream import Open, engine
from tests.running import TOKEN
from tests.waiting import wait_until

__all__ = ["engine"]  # a fixture


@pytest.fixture
async def server() -> AsyncIterator[ComfyUI]:
    comfy = ComfyUI()
    await comfy.start()
    yield comfy
    await comfy.stop()


def node(kind: str, **inputs: object) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


async def run(open_engine: Open, asked: object, folder: str = "") -> list[Event]:
    upstream = await open_engine(mode="comfyui")
    job = Job("r", json.dumps(asked).encode(), folder=folder, artifact_bytes=10**6)
    async with aclosing(upstream.run(job)) as events:
        return [event async for event in events][1:]


@pytest.mark.parametrize("chooses_ids", [False, True], ids=["now", "older"])
async def test_progress_then_a_picture_as_the_result_and_the_others_as_artifacts(
    server: ComfyUI, engine: Open, tmp_path: Path, chooses_ids: bool
) -> None:
    server.chooses_ids = chooses_ids
    graph = {"1": node("PreviewImage"), "2": node("Sample"), "3": node("SaveImage", name="out")}
    *before, artifact, end = await run(engine, {"workflow": graph}, str(tmp_path))
    fractions = [event.fraction for event in before if isinstance(event, Progress)]
    assert len(fractions) == len(before)
    assert fractions == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6])
    assert end == Finished(PICTURE + b"out.png", content_type="image/png")
    assert isinstance(artifact, Artifact)
    assert (artifact.name, artifact.content_type) == ("2.png", "image/png")
    assert await asyncio.to_thread(Path(artifact.path).read_bytes) == PICTURE + b"1.png"
    assert server.forgotten == list(server.prompts)
    assert server.interrupts == 0


async def test_a_workflow_without_files_returns_its_other_outputs(
    server: ComfyUI, engine: Open
) -> None:
    end = (await run(engine, {"1": node("ShowText", text="hello")}))[-1]
    assert isinstance(end, Finished)
    assert json.loads(end.output) == {"1": {"text": ["hello"]}}
    assert end.content_type == "application/json"


async def test_pictures_of_a_job_are_its_own(server: ComfyUI, engine: Open) -> None:
    def asked(content: bytes) -> dict[str, Any]:
        url = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        graph = {"1": node("LoadImage", image="in.png", link=["2", 0], other="in.png.bak")}
        return {"workflow": graph, "images": [{"name": "in.png", "image": url}]}

    await run(engine, asked(b"one"))
    await run(engine, asked(b"two"))
    (first, one), (second, two) = server.inputs.items()
    assert (one, two) == (b"one", b"two")
    loaded = [graph["1"]["inputs"] for graph in server.prompts.values()]
    assert [inputs["image"] for inputs in loaded] == [first, second]
    assert {(*inputs["link"], inputs["other"]) for inputs in loaded} == {("2", 0, "in.png.bak")}


async def test_a_failing_node_fails_the_job(server: ComfyUI, engine: Open) -> None:
    end = (await run(engine, {"1": node("Break")}))[-1]
    assert isinstance(end, Failed)
    assert (end.code, end.message) == ("UpstreamError", "Break: CUDA out of memory")
    assert end.retryable


async def test_a_workflow_that_the_server_refuses_is_not_tried_again(
    server: ComfyUI, engine: Open
) -> None:
    end = (await run(engine, {"1": node("Unknown")}))[-1]
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("400", False)
    assert end.message == "the server answered 400: Cannot execute node 1"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([], "expected a workflow of ComfyUI as a JSON object"),
        ({}, "workflow: expected its nodes by their ids, got none"),
        ({"workflow": {"nodes": [], "links": []}}, "workflow.nodes: expected a node with"),
        (
            {"workflow": {"1": node("X")}, "images": [{"name": "../x", "image": "data:,x"}]},
            "images.0.name: expected a name such as input.png, got '../x'",
        ),
        (
            {"workflow": {"1": node("X")}, "images": [{"name": "x", "image": "http://box/x"}]},
            "images.0.image: it is no data URL",
        ),
    ],
)
async def test_what_is_no_workflow_reaches_no_server(
    server: ComfyUI, engine: Open, asked: object, sentence: str
) -> None:
    end = (await run(engine, asked))[-1]
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("BadInput", False)
    assert end.message.startswith(sentence)
    assert (server.prompts, server.inputs) == ({}, {})


async def test_a_canceled_job_is_interrupted_and_a_waiting_one_taken_back(
    server: ComfyUI, engine: Open
) -> None:
    upstream = await engine(mode="comfyui", capacity=2)
    data = json.dumps({"1": node("Wait")}).encode()
    first, second = (upstream.run(Job(name, data)) for name in ("one", "two"))
    running, ended = await anext(first), asyncio.Event()
    waiting = asyncio.create_task(_drain(second, ended))
    await anext(first)
    await wait_until(lambda: server.pending, "the second waits at the server")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (server.pending, server.interrupts) == ([], 0), "the first one still runs"
    await first.aclose()
    await wait_until(lambda: not server.running, "the first is interrupted")
    assert server.interrupts == 1
    assert running is not None


async def _drain(events: Any, ended: asyncio.Event) -> None:
    async with aclosing(events):
        async for _ in events:
            pass
    ended.set()


async def test_a_server_that_hangs_up_costs_an_attempt(server: ComfyUI, engine: Open) -> None:
    upstream = await engine(mode="comfyui")
    events = upstream.run(Job("r", json.dumps({"1": node("Wait")}).encode()))
    await anext(events)
    await anext(events)
    await server.hang_up()
    rest = [event async for event in events]
    assert rest[-1] == Failed("UpstreamDown", "the server closed the connection of the workflow")
    await wait_until(lambda: not server.running, "the server does not go on with it")


async def test_a_workflow_that_takes_too_long_is_taken_back(server: ComfyUI, engine: Open) -> None:
    upstream = await engine(mode="comfyui", timeout_s=1)
    async with aclosing(upstream.run(Job("r", json.dumps({"1": node("Wait")}).encode()))) as events:
        end = [event async for event in events][-1]
    assert end == Failed("UpstreamTimeout", "the server did not answer within 1 s")
    await wait_until(lambda: not server.running, "the server does not go on with it")


async def test_a_job_gets_its_picture_and_artifacts_through_the_queue(
    server: ComfyUI, start_service: StartService, start_worker: StartWorker, tmp_path: Path
) -> None:
    service = await start_service(files_dir=str(tmp_path / "kept"), files_reserve_mb=0)
    options = {"mode": "comfyui"}
    await start_worker(service.url, engine=f"http:{server.url}", engine_options=options)
    graph = {"1": node("SaveImage", name="first"), "2": node("SaveImage", name="second")}
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit(json.dumps(graph))
        assert await client.jobs.result(job.id, timeout_s=60) == PICTURE + b"first.png"
        shown = await client.jobs.get(job.id)
        (artifact,) = await client.jobs.artifacts(job.id)
        assert (artifact.name, artifact.content_type) == ("2.png", "image/png")
        assert shown.state == "succeeded"
        await client.jobs.delete(job.id)


@pytest.mark.parametrize("depth", [900, 940, 950, 970, 985, 2000])
async def test_brackets_that_are_nested_too_deep_are_the_clients_fault(
    server: ComfyUI, engine: Open, depth: int
) -> None:
    upstream = await engine(mode="comfyui")
    deep = "[" * depth + "]" * depth
    data = f'{{"1": {{"class_type": "ShowText", "inputs": {{"text": "x", "deep": {deep}}}}}}}'
    async with aclosing(upstream.run(Job("r", data.encode()))) as events:
        *_, end = [event async for event in events]
    # Below that it depends on how deep the stack is already.
    if depth > 950 or isinstance(end, Failed):
        assert isinstance(end, Failed)
        assert (end.code, end.retryable) == ("BadInput", False)


async def test_a_redirect_is_not_followed(server: ComfyUI, engine: Open) -> None:
    server.moved_to = "http://127.0.0.1:1/elsewhere"
    *_, end = await run(engine, {"workflow": {"1": node("SaveImage", name="out")}})
    assert isinstance(end, Failed)
    assert "the server answered 302" in end.message
