"""A diffusion pipeline: progress by steps, a cancel between two steps."""

import json
from pathlib import Path

import pytest

from inference_worker.engines.engine import Context, Engine, Failed, Finished, Job, Progress
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.errors import BadEngine, EngineFailed

for module in ("torch", "transformers", "diffusers"):
    pytest.importorskip(module, reason="the extra `diffusers` is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from examples.media.tiny_models import save_diffusion  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("diffusion")
    save_diffusion(folder)
    return folder


def job(steps: int) -> Job:
    asked = {"inputs": "a house", "parameters": {"num_inference_steps": steps}}
    return Job("r", json.dumps(asked).encode(), content_type="application/json")


async def started(folder: Path) -> Engine:
    engine = load_engine(EngineSpec(f"pipeline:text-to-image:{folder}"))
    await engine.start(Context())
    return engine


async def test_each_step_is_progress_and_a_cancel_ends_between_two(folder: Path) -> None:
    engine = await started(folder)
    try:
        events = [event async for event in engine.run(job(4))]
        steps = [event for event in events if isinstance(event, Progress)]
        assert [one.fraction for one in steps] == [0.25, 0.5, 0.75, 1.0]
        assert steps[0].note == "step 1 of 4"
        end = events[-1]
        assert isinstance(end, Finished)
        assert (end.content_type, end.output[:4]) == ("image/png", b"\x89PNG")

        running = engine.run(job(1000))
        async for event in running:
            if isinstance(event, Progress):
                assert event.fraction == 0.001
                break
        # It returns when nothing of the job is running.
        await running.aclose()
        again = [event async for event in engine.run(job(1))]
        assert isinstance(again[-1], Finished)
    finally:
        await engine.stop(1.0)


async def test_what_is_no_job_for_it_fails_at_once(folder: Path) -> None:
    engine = await started(folder)
    bad = {
        b"": "prompt",
        b'{"inputs": {"prompt": "a", "mask": "x"}}': "no mask here",
        b'{"inputs": "a", "parameters": {"strength": 0.5}}': "strength: expected none",
        b'{"inputs": "a", "parameters": {"width": 64}}': "both or neither",
        b'{"inputs": "a", "parameters": {"latents": [1]}}': "latents",
    }
    try:
        for data, said in bad.items():
            events = [event async for event in engine.run(Job("r", data))]
            end = events[-1]
            assert isinstance(end, Failed)
            assert (end.code, end.retryable) == ("BadInput", False)
            assert said in end.message
    finally:
        await engine.stop(1.0)


async def test_a_worker_says_what_is_wrong_with_its_model(tmp_path: Path) -> None:
    with pytest.raises(BadEngine):
        load_engine(EngineSpec("pipeline:text-to-image"))
    with pytest.raises(EngineFailed):
        await started(tmp_path)
