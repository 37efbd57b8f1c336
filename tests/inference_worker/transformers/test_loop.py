"""The steps, taken one at a time, with a runner that counts instead of computing."""

import pytest

from inference_worker.engines.engine import Failed
from inference_worker.engines.transformers.loop import (
    MOST_FAILED_STEPS,
    GenerationLoop,
    Update,
)
from inference_worker.engines.transformers.scheduler import Limits, Step
from inference_worker.engines.transformers.sequence import (
    FinishReason,
    Pick,
    Sampling,
    Sequence,
)
from tests.waiting import wait_until_blocking


class CountingRunner:
    """Picks 1, 2, 3, ... for each sequence; a prompt of 13 fails, and `broken` fails them all."""

    name = "counting"
    padded = True
    bytes_per_token = 1

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.broken = False
        self.resets = 0

    def run(self, step: Step) -> list[tuple[Sequence, Pick | Failed]]:
        if self.broken:
            raise RuntimeError("the device is gone")
        self.steps.append(step)
        return [(sequence, self._next(sequence)) for sequence in (*step.rows, *step.joins)]

    def refuses(self, sampling: Sampling) -> str | None:
        return None

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        pass

    def _next(self, sequence: Sequence) -> Pick | Failed:
        if sequence.prompt == (13,):
            return Failed("BadInput", "unlucky", retryable=False)
        return Pick(len(sequence.picks) + 1)


def decode(ids: list[int]) -> str:
    return "".join(f"{token} " for token in ids)


def decode_no_two(ids: list[int]) -> str:
    if 2 in ids:
        raise ValueError("two is no text")
    return decode(ids)


def sequence(prompt: int = 1, new: int = 3) -> Sequence:
    return Sequence((prompt,), Sampling(new), decode)


@pytest.fixture
def runner() -> CountingRunner:
    return CountingRunner()


@pytest.fixture
def updates() -> list[Update]:
    return []


@pytest.fixture
def loop(runner: CountingRunner, updates: list[Update]) -> GenerationLoop:
    return GenerationLoop(runner, Limits(2, 1000), deliver=updates.extend)


def test_each_that_runs_gets_one_token_in_each_step(
    loop: GenerationLoop, updates: list[Update]
) -> None:
    a, b = sequence(new=2), sequence(new=3)
    loop.begin([a, b])
    for _ in range(3):
        loop.step()
    assert (a.tokens, b.tokens) == ([1, 2], [1, 2, 3])
    assert [update.sequence for update in updates if update.is_last] == [a, b]
    assert (loop.load.generating, loop.load.tokens) == (0, 5)


def test_a_cancelled_one_frees_its_place_at_the_next_step(
    loop: GenerationLoop, runner: CountingRunner
) -> None:
    a, b, c = sequence(new=99), sequence(new=99), sequence(new=99)
    loop.begin([a, b, c])
    loop.step()
    loop.cancel([a])
    loop.step()
    assert runner.steps[-1] == Step(leaves=[a], rows=[b], joins=[c])
    assert a.finish_reason is FinishReason.CANCELLED
    assert a.tokens == [1]


def test_one_that_fails_fails_alone(loop: GenerationLoop, updates: list[Update]) -> None:
    bad, good = sequence(13), sequence(new=1)
    loop.begin([bad, good])
    loop.step()
    assert bad.failed == Failed("BadInput", "unlucky", retryable=False)
    assert good.finish_reason is FinishReason.LENGTH
    assert {update.sequence for update in updates if update.is_last} == {bad, good}


def test_a_token_without_text_is_the_failure_of_its_answer_alone(loop: GenerationLoop) -> None:
    good, bad = sequence(new=2), Sequence((1,), Sampling(9), decode_no_two)
    loop.begin([good, bad])
    for _ in range(2):
        loop.step()
    assert good.finish_reason is FinishReason.LENGTH
    assert bad.failed == Failed("ValueError", "token 2 has no text: two is no text")


def test_a_step_that_fails_gives_everybody_back(
    loop: GenerationLoop, runner: CountingRunner, updates: list[Update]
) -> None:
    a, b, waits = sequence(), sequence(), sequence()
    loop.begin([a, b, waits])
    loop.step()
    runner.broken = True
    loop.step()
    for one in (a, b, waits):
        assert one.failed is not None
        assert one.failed.retryable
    assert runner.resets == 1
    assert not loop.is_dead
    runner.broken = False
    again = sequence(new=1)
    loop.begin([again])
    loop.step()
    assert again.finish_reason is FinishReason.LENGTH


def test_an_engine_whose_steps_all_fail_is_dead(
    loop: GenerationLoop, runner: CountingRunner
) -> None:
    runner.broken = True
    for _ in range(MOST_FAILED_STEPS):
        loop.begin([sequence()])
        loop.step()
    assert loop.is_dead


def test_what_still_runs_when_the_loop_stops_is_given_back(
    loop: GenerationLoop, updates: list[Update]
) -> None:
    loop.start()
    endless = sequence(new=10**9)
    loop.begin([endless])
    loop.stop(10.0)
    late = [update for update in updates if update.is_last]
    assert [update.sequence for update in late] in ([endless], [])
    assert loop.is_dead


class LostRunner(CountingRunner):
    """Cannot even begin again."""

    def run(self, step: Step) -> list[tuple[Sequence, Pick | Failed]]:
        raise RuntimeError("the device is gone")

    def reset(self) -> None:
        raise RuntimeError("and does not come back")


def test_a_request_after_the_loop_has_ended_gets_an_error(updates: list[Update]) -> None:
    loop = GenerationLoop(LostRunner(), Limits(2, 1000), deliver=updates.extend)
    loop.begin([first := sequence()])
    loop.start()
    wait_until_blocking(lambda: loop.is_dead, "it has ended")
    loop.begin([late := sequence()])
    wait_until_blocking(lambda: late.failed, "the late one is told")
    assert first.failed is not None
    # Its process is good for nothing more, and is replaced.
    assert late.failed == Failed("DeviceLost", "the generation has ended")
    assert updates[-1] == Update(late, is_last=True)
