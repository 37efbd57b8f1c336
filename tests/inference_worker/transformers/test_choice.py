"""Which runner and which device: decided from plain values, on whatever machine."""

import pytest

from inference_worker.engines.transformers.choice import (
    beyond_paged,
    choose_device,
    choose_runner,
)
from inference_worker.engines.transformers.options import RunnerChoice
from inference_worker.engines.transformers.sequence import Sampling

PLAIN = Sampling(max_new_tokens=1, temperature=0.7, top_p=0.9, top_k=50)
PENALISED = Sampling(max_new_tokens=1, repetition_penalty=1.05)


@pytest.mark.parametrize(
    ("device", "has_flash", "fits_flash", "usual", "choice"),
    [
        ("cuda", True, True, PLAIN, RunnerChoice.PAGED),
        ("cuda", False, True, PLAIN, RunnerChoice.OWN),
        ("cuda", True, False, PLAIN, RunnerChoice.OWN),
        ("cpu", True, True, PLAIN, RunnerChoice.OWN),
        # Otherwise every request of a model whose own settings penalise would be refused.
        ("cuda", True, True, PENALISED, RunnerChoice.OWN),
    ],
)
def test_paged_is_chosen_only_where_it_is_better_and_can_do_what_is_usual(
    device: str, has_flash: bool, fits_flash: bool, usual: Sampling, choice: RunnerChoice
) -> None:
    def choose(asked: RunnerChoice) -> RunnerChoice:
        return choose_runner(
            asked, device=device, has_flash=has_flash, fits_flash=fits_flash, usual=usual
        )

    assert choose(RunnerChoice.AUTO) is choice
    assert choose(RunnerChoice.OWN) is RunnerChoice.OWN
    assert choose(RunnerChoice.PAGED) is RunnerChoice.PAGED


def test_what_the_paged_runner_cannot_do_has_a_name() -> None:
    assert beyond_paged(PLAIN) is None
    assert beyond_paged(PENALISED) == "a penalty"
    assert beyond_paged(Sampling(1, seed=0)) == "a seed"


@pytest.mark.parametrize(
    ("asked", "cuda_devices", "device"),
    [
        ("", 0, "cpu"),
        ("", 2, "cuda"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda"),
        ("cuda:1", 2, "cuda:1"),
        ("xpu", 0, "xpu"),
    ],
)
def test_the_device_is_what_was_asked_for_or_what_there_is(
    asked: str, cuda_devices: int, device: str
) -> None:
    assert choose_device(asked, cuda_devices=cuda_devices, has_mps=False) == device


@pytest.mark.parametrize(
    ("asked", "cuda_devices", "sentence"),
    [
        ("cuda", 0, "device cuda: torch sees no CUDA device here"),
        ("cuda:0", 0, "device cuda:0: torch sees no CUDA device here"),
        ("cuda:2", 2, "device cuda:2: expected a number from 0 to 1"),
        ("cuda:x", 2, "device cuda:x: expected a number from 0 to 1"),
        ("mps", 0, "device mps: torch sees no such device here"),
    ],
)
def test_a_device_that_is_not_there_is_reported_in_a_sentence(
    asked: str, cuda_devices: int, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        choose_device(asked, cuda_devices=cuda_devices, has_mps=False)
