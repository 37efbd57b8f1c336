"""The other runner, forced: the same answers, and what it cannot do is refused."""

import asyncio

from inference_worker.engines.engine import Failed, Job, Started
from tests.inference_worker.transformers.conftest import (
    Start,
    TinyModel,
    answer_of,
    answers_of,
    body,
    end_of,
    generating,
)
from tests.inference_worker.transformers.test_generation import greedy, mix
from tests.waiting import wait_until


async def test_the_paged_runner_gives_the_same_answers(llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=16, runner="paged")
    wanted = mix(8)
    for fields, answer in zip(wanted, await answers_of(engine, wanted), strict=True):
        expected = greedy(llama.model, fields["prompt"], fields["max_tokens"])  # type: ignore[arg-type]
        assert answer["token_ids"] == expected


async def test_the_paged_runner_ends_at_a_stop_string(demo_model: str, start: Start) -> None:
    engine = await start(f"transformers:{demo_model}", runner="paged")
    prompt = "<question>What is a sink?<answer>"
    answer = await answer_of(engine, prompt=prompt, temperature=0, stop=" results")
    assert answer["text"] == "The queue in which the"
    assert answer["finish_reason"] == "stop"
    await wait_until(lambda: not engine._listeners, "nothing is left of it")


async def test_what_the_paged_runner_cannot_do_is_refused(llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{llama.folder}", runner="paged")
    for wish in ({"seed": 1}, {"min_p": 0.1}, {"logprobs": True}, {"presence_penalty": 1}):
        end = await end_of(engine, body(prompt="a", **wish))
        assert isinstance(end, Failed)
        assert (end.code, end.retryable) == ("BadInput", False)
        assert "is not supported by the paged runner" in end.message


async def test_a_paged_answer_can_be_cancelled(llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=1, runner="paged")
    events = engine.run(Job("r", body(prompt="a", max_tokens=1500, ignore_eos=True)))
    assert await anext(events) == Started()
    await events.aclose()
    async with asyncio.timeout(30):
        await answer_of(engine, prompt="b", max_tokens=2)
    assert await generating(engine) == 0
