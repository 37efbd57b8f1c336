"""The engine where it really runs: in a process of its own."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from inference_worker.engines.engine import Context, Finished, Started, Usage
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.errors import BadEngine
from inference_worker.logs import LogSettings
from inference_worker.process import EngineProcess
from tests.inference_worker.events import events_of
from tests.inference_worker.transformers.conftest import TinyModel, body, shown

PAGE_BYTES = 4096


async def test_the_demos_model_answers_from_its_own_process(demo_model: str) -> None:
    spec = EngineSpec(f"transformers:{demo_model}", {"torch_threads": 1, "device": "cpu"}, 4)
    engine = EngineProcess(spec, logs=LogSettings())
    try:
        await engine.start(Context())
        assert engine.capacity == 4
        question = b"<question>What is a sink?<answer>"
        for events in await asyncio.gather(*(events_of(engine, question) for _ in range(4))):
            text = "The queue in which the results wait until somebody reads them."
            assert events[0] == Started()
            assert shown(events) == text
            assert events[-2] == Usage(prompt_tokens=7, completion_tokens=14)
            assert isinstance(events[-1], Finished)
            assert (json.loads(events[-1].output)["text"], events[-1].reason) == (text, "stop")
        assert (await engine.health()).details["max_generating"] == 4
    finally:
        await engine.stop(5.0)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_thousand_short_generations_leave_the_memory_as_it_was(
    llama: TinyModel,
) -> None:
    options = {"torch_threads": 1, "device": "cpu", "max_tokens_in_batch": 8192}
    spec = EngineSpec(f"transformers:{llama.folder}", options, 16)
    engine = EngineProcess(spec, logs=LogSettings())
    try:
        await engine.start(Context())
        assert engine.pid is not None

        async def some(first: int) -> None:
            wishes = (
                body(prompt=f"{n} times", max_tokens=1 + n % 9, temperature=n % 2, top_p=0.9)
                for n in range(first, first + 100)
            )
            for events in await asyncio.gather(*(events_of(engine, wish) for wish in wishes)):
                assert isinstance(events[-1], Finished)

        for first in range(0, 200, 100):
            await some(first)
        early = [resident_bytes(pid) for pid in (os.getpid(), engine.pid)]
        for first in range(200, 2000, 100):
            await some(first)
        late = [resident_bytes(pid) for pid in (os.getpid(), engine.pid)]
        assert all(now < 1.1 * then for now, then in zip(late, early, strict=True))
    finally:
        await engine.stop(5.0)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("transformers:", {}, "an engine echo"),
        ("transformers:x", {"colour": 1}, "options that transformers knows, got colour"),
        ("transformers:x", {"runner": "fast"}, "options that transformers knows, got runner"),
        ("embeddings:x", {"max_batch": 0}, "options that embeddings knows, got max_batch"),
        ("pipeline:", {}, "an engine echo"),
    ],
)
def test_a_name_that_makes_no_sense_is_refused_without_torch(
    name: str, options: dict[str, object], expected: str
) -> None:
    with pytest.raises(BadEngine, match=expected):
        load_engine(EngineSpec(name, options))
