"""Wishes for many tokens: each has its effect, and a step with them costs little more."""

import time
from typing import Any

import pytest

from inference_worker.engines.transformers.sequence import Sampling, Sequence

VOCABULARY = 100_000


def sequence(**wanted: Any) -> Sequence:
    return Sequence((1,), Sampling(50, **wanted), lambda ids: "")


@pytest.fixture
def logits() -> Any:
    import torch  # noqa: PLC0415

    return torch.arange(VOCABULARY, dtype=torch.float32).reshape(1, -1)


def picked(logits: Any, row: Sequence) -> int:
    from inference_worker.engines.transformers.sampling import Sampler  # noqa: PLC0415

    (pick,) = Sampler().pick(logits, [row])
    assert not hasattr(pick, "code"), pick
    return int(pick.token)


def test_each_wish_has_its_effect(logits: Any) -> None:
    last = VOCABULARY - 1
    assert picked(logits, sequence(allowed_ids=frozenset((3, 8, 5)))) == 8
    assert picked(logits, sequence(biases=((last, -1.5),))) == last - 1
    assert picked(logits, sequence(biases=((last, -0.75), (last, -0.75)))) == last - 1
    ends = frozenset((last, last - 1, VOCABULARY + 7))
    assert picked(logits, sequence(min_tokens=1, stop_ids=ends)) == last - 2
    assert picked(logits, sequence(min_tokens=1)) == last
    assert logits[0].tolist() == list(range(VOCABULARY)), "the model's own scores stay"


def test_a_step_with_thousands_of_wishes_costs_little(logits: Any) -> None:
    from inference_worker.engines.transformers.sampling import Sampler  # noqa: PLC0415

    every = frozenset(range(VOCABULARY - 1))
    row = sequence(
        allowed_ids=frozenset(range(VOCABULARY)),
        biases=tuple((token, 0.5) for token in range(1024)),
        min_tokens=50,
        stop_ids=every,
    )
    sampler, times = Sampler(), []
    for _ in range(10):
        begun = time.process_time()
        sampler.pick(logits, [row])
        times.append(time.process_time() - begun)
    # To make tensors of the ids in each step took ten times as long.
    assert min(times[1:]) < times[0] / 3
