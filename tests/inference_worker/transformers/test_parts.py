"""A long prompt is computed in parts, and the answers that grow already go on in between."""

import asyncio
from typing import Any

import pytest

from inference_worker.engines.transformers.scheduler import Step
from inference_worker.engines.transformers.sequence import Sampling, Sequence
from tests.inference_worker.transformers.conftest import (
    Start,
    TinyModel,
    answer_of,
    answers_of,
    body,
    generating,
)
from tests.inference_worker.transformers.test_architectures import (
    every_second_layer_slides,
    learned_positions,
    save,
    sliding_window,
)
from tests.inference_worker.transformers.test_generation import greedy, mix
from tests.waiting import wait_until

#: Tokens of a prompt in one step: a divisor of no length in particular.
PART = 7


def sequence(prompt: int, *, choice: int = 0) -> Sequence:
    return Sequence((5,) * prompt, Sampling(50), lambda ids: "", choice)


@pytest.fixture
def runner(llama: TinyModel) -> Any:
    from inference_worker.engines.transformers.runner import OwnRunner  # noqa: PLC0415

    return OwnRunner(llama.model, prefill_tokens=PART)


def take(runner: Any, step: Step) -> list[Sequence]:
    """Take a step; return who was given a token."""
    outcomes = runner.run(step)
    for one, pick in outcomes:
        one.add(pick)
    return [one for one, _ in outcomes]


def test_who_grows_already_has_a_token_in_each_step_of_a_long_prompt(runner: Any) -> None:
    grows, long, behind = sequence(2), sequence(3 * PART), sequence(1)
    assert take(runner, Step(joins=[grows])) == [grows]
    assert take(runner, Step(rows=[grows], joins=[long])) == [grows]
    assert take(runner, Step(rows=[grows, long], joins=[behind])) == [grows]
    assert take(runner, Step(rows=[grows, long, behind])) == [grows, long]
    assert take(runner, Step(rows=[grows, long, behind])) == [grows, long, behind]


def test_one_that_leaves_in_the_middle_of_its_prompt_leaves_nothing(runner: Any) -> None:
    a, b = sequence(2 * PART), sequence(2)
    assert take(runner, Step(joins=[a])) == []
    assert take(runner, Step(leaves=[a], joins=[b])) == [b]
    assert not runner._prompts


def test_the_choices_of_one_prompt_share_its_parts(runner: Any) -> None:
    first = sequence(2 * PART)
    second = Sequence(first.prompt, first.sampling, first.decode, 1)
    assert take(runner, Step(joins=[first, second])) == []
    assert take(runner, Step(leaves=[first], rows=[second])) == [second]


@pytest.mark.parametrize(
    "make", [None, sliding_window, learned_positions, every_second_layer_slides]
)
async def test_prompts_in_parts_are_answered_as_one_by_one(
    make: Any, llama: TinyModel, start: Start, tmp_path: Any
) -> None:
    model = save(tmp_path, make) if make else llama.model
    folder = str(tmp_path) if make else llama.folder
    engine = await start(f"transformers:{folder}", capacity=5, prefill_tokens=PART)
    wanted = mix(8)
    for fields, answer in zip(wanted, await answers_of(engine, wanted), strict=True):
        expected = greedy(model, fields["prompt"], fields["max_tokens"])  # type: ignore[arg-type]
        assert answer["token_ids"] == expected


async def test_a_job_cancelled_in_the_middle_of_its_prompt_frees_its_place(
    llama: TinyModel, start: Start
) -> None:
    from inference_worker.engines.engine import Job, Started  # noqa: PLC0415

    engine = await start(f"transformers:{llama.folder}", capacity=1, prefill_tokens=1)
    events = engine.run(Job("r", body(prompt=[5] * 1500, max_tokens=2)))
    assert await anext(events) == Started()
    await events.aclose()
    async with asyncio.timeout(30):
        await answer_of(engine, prompt="b", max_tokens=2)

    async def nobody() -> bool:
        return await generating(engine) == 0

    await wait_until(nobody, "nobody generates")
