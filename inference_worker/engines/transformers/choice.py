"""Chooses the runner and the device.  Pure."""

from inference_worker.engines.transformers.options import RunnerChoice
from inference_worker.engines.transformers.sequence import Sampling


def choose_runner(
    asked: RunnerChoice, *, device: str, has_flash: bool, fits_flash: bool, usual: Sampling
) -> RunnerChoice:
    """Return the configured runner; for `auto`, `paged` if it is faster, else our own.

    device: its kind, such as `cuda`.  has_flash: flash attention is installed.  fits_flash: the
    model supports it.  usual: the sampling of a request without parameters.

    Without flash attention, transformers' continuous batching compares every token with those of
    all rows, and is slower than a padded rectangle.
    """
    if asked is not RunnerChoice.AUTO:
        return asked
    # If the model's defaults have, for example, a repetition penalty, the paged runner would refuse
    # every request.
    can_paged = device == "cuda" and has_flash and fits_flash and not beyond_paged(usual)
    return RunnerChoice.PAGED if can_paged else RunnerChoice.OWN


def beyond_paged(sampling: Sampling) -> str | None:
    """Return a parameter that the paged runner cannot set per request; None if it supports all."""
    wishes = {
        "min_p": sampling.min_p > 0.0,
        "a penalty": sampling.has_penalties,
        "a seed": sampling.seed is not None,
        "logprobs": sampling.logprobs is not None,
        "logit_bias": bool(sampling.biases),
        "allowed_token_ids": sampling.allowed_ids is not None,
        "min_tokens": sampling.min_tokens > 0,
    }
    return next((name for name, wanted in wishes.items() if wanted), None)


def choose_device(asked: str, *, cuda_devices: int, has_mps: bool) -> str:
    """Return the device to use; raises ValueError if it does not exist.

    asked: `cpu`, `cuda`, `cuda:1`, `mps`, any other that torch knows, or "" for the best available.
    """
    kind, _, number = asked.partition(":")
    if not asked:
        return "cuda" if cuda_devices else "cpu"
    if kind == "cuda" and not cuda_devices:
        raise ValueError(
            f"device {asked}: torch sees no CUDA device here (is the driver there, has the "
            "container been given the GPU, and is this torch one with CUDA?)"
        )
    if kind == "cuda" and number and not (number.isdecimal() and int(number) < cuda_devices):
        raise ValueError(f"device {asked}: expected a number from 0 to {cuda_devices - 1}")
    if kind == "mps" and not has_mps:
        raise ValueError(f"device {asked}: torch sees no such device here")
    return asked
