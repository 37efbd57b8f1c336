"""The engines for embeddings and for pipelines."""

import asyncio
import json
import threading
from typing import Any

import pytest

from inference_worker.engines.engine import Engine, Failed, Finished, Job
from inference_worker.engines.transformers.batching import BatchThread
from tests.inference_worker.transformers.conftest import Start, TinyModel, body, end_of


async def vectors_of(engine: Engine, data: bytes) -> list[list[float]]:
    end = await end_of(engine, data)
    assert isinstance(end, Finished), end
    return [item["embedding"] for item in json.loads(end.output)["data"]]


def mean_pooled(bert: TinyModel, text: str) -> Any:
    import torch  # noqa: PLC0415
    from transformers import AutoTokenizer  # noqa: PLC0415

    tokens = AutoTokenizer.from_pretrained(bert.folder)(text, return_tensors="pt")
    with torch.inference_mode():
        hidden = bert.model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).last_hidden_state
    return torch.nn.functional.normalize(hidden.mean(1), dim=-1)[0].tolist()


async def test_a_vector_is_the_normalised_mean_in_whatever_batch(
    bert: TinyModel, start: Start
) -> None:
    engine = await start(f"embeddings:{bert.folder}")
    texts = ["a", "a longer text", "the longest text of all that are here"]
    jobs = [vectors_of(engine, text.encode()) for text in texts]
    jobs.append(vectors_of(engine, body(input=texts)))
    *alone, together = await asyncio.gather(*jobs)
    for text, (vector,), same in zip(texts, alone, together, strict=True):
        assert vector == pytest.approx(mean_pooled(bert, text), abs=1e-5)
        assert vector == pytest.approx(same, abs=1e-5)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "input: "),
        (b'{"input": []}', "input"),
        (b'{"input": ["a", ""]}', "input.1: it has no tokens"),
        (b'{"input": 5}', "input"),
        (b"0" * 65, "input.0: expected at most 64 tokens, got 65"),
    ],
)
async def test_a_text_that_makes_no_vector_is_refused(
    bert: TinyModel, start: Start, data: bytes, sentence: str
) -> None:
    engine = await start(f"embeddings:{bert.folder}")
    end = await end_of(engine, data)
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("BadInput", False)
    assert sentence in end.message


async def test_a_long_text_is_cut_when_told_so(bert: TinyModel, start: Start) -> None:
    engine = await start(f"embeddings:{bert.folder}", truncate=True)
    assert await vectors_of(engine, b"0" * 65) == await vectors_of(engine, b"0" * 64)


async def test_a_pipeline_runs_by_the_name_of_its_task(demo_model: str, start: Start) -> None:
    engine = await start(f"pipeline:text-generation:{demo_model}")
    prompt = "<question>What is a sink?<answer>"
    wish = body(inputs=prompt, parameters={"max_new_tokens": 40, "return_full_text": False})
    end = await end_of(engine, wish)
    assert isinstance(end, Finished), end
    answer = json.loads(end.output)[0]["generated_text"]
    assert answer.strip() == "The queue in which the results wait until somebody reads them."


async def test_what_a_pipeline_cannot_read_is_a_bad_input(demo_model: str, start: Start) -> None:
    engine = await start(f"pipeline:text-generation:{demo_model}")
    for data in (b"", b'{"inputs": "a", "colour": 1}', b'{"inputs": 5}'):
        end = await end_of(engine, data)
        assert isinstance(end, Failed)
        assert end.code == "BadInput"
    end = [event async for event in engine.run(Job("r", b"no", content_type="image/png"))][-1]
    assert isinstance(end, Failed)


async def test_what_gathers_while_the_thread_is_busy_is_one_batch() -> None:
    sizes: list[int] = []
    busy, go = threading.Event(), threading.Event()

    def compute(values: list[int]) -> list[int | Exception]:
        sizes.append(len(values))
        busy.set()
        go.wait(10)
        if 13 in values:
            raise ValueError("unlucky")
        return [2 * value for value in values]

    batches: BatchThread[int, int] = BatchThread(compute, most=4)
    first = asyncio.create_task(batches.result(0))
    await asyncio.to_thread(busy.wait, 10)
    others = [asyncio.create_task(batches.result(number)) for number in (1, 13, 2, 3, 4)]
    await asyncio.wait({first, *others}, timeout=0.01)
    go.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [r if isinstance(r, int) else str(r) for r in results] == [0, 2, "unlucky", 4, 6, 8]
    # The batch with the unlucky one was done again, one by one.
    assert sizes == [1, 4, 1, 1, 1, 1, 1]
    batches.stop()


class Panic(BaseException):
    """What a library in Rust raises when it panics."""


async def test_a_panic_of_a_library_ends_its_job_and_no_other() -> None:
    def compute(values: list[int]) -> list[int | Exception]:
        if values == [1]:
            raise Panic("at the disco")
        # Of two values it gives one result, as a library may.
        return [value for value in values if value != 2]

    batches: BatchThread[int, int] = BatchThread(compute, most=1)
    with pytest.raises(RuntimeError, match="Panic: at the disco"):
        await batches.result(1)
    with pytest.raises(ValueError, match="expected 1 results, got 0"):
        await batches.result(2)
    assert await batches.result(3) == 3
    batches.stop()
