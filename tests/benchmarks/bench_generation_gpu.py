"""Tokens per second on a GPU, with the memory-bandwidth floor beside them.

    python -m tests.benchmarks.bench_generation_gpu [--billions 1] [--rounds 3]
    python -m tests.benchmarks.bench_generation_gpu --smoke    # seconds, without a GPU

The ways and the mix of `bench_generation`, on a Llama of 1, 3 or 8 billion random parameters in
bfloat16, made on the device and never stored.  Round robin and one by one read all weights for
every single token; the others read them once for a token of each request.  So the time that one
reading takes, which is measured by copying, is a floor under the time of a step, and the table
shows how much of what it permits each way reaches.  Answers may differ in bfloat16, where two
tokens are nearly as likely; it prints how many do.  With `--smoke` everything is done once with a
tiny model in float32 on the CPU, so that a mistake here is found before a GPU is paid for; its
numbers mean nothing.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: Bytes that are copied to measure the bandwidth, and how many times.
COPIED_BYTES = 1 << 30
COPIES = 20


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of a Llama."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int


#: What `--smoke` runs.
TINY = Size(64, 128, 2, 4, 2, 256)
#: How many times shorter its requests are, and how many bytes it copies.
TINY_SHRINK = 16
TINY_COPIED_BYTES = 1 << 20

#: By billions of parameters, roughly.
SIZES: Mapping[int, Size] = {
    1: Size(2048, 8192, 16, 32, 8, 32_768),
    3: Size(3072, 8192, 28, 24, 8, 128_256),
    8: Size(4096, 14_336, 32, 32, 8, 128_256),
}


def parameters_of(size: Size) -> int:
    """Count the parameters of a Llama of this shape, whose two ends are separate."""
    head = size.hidden // size.heads
    attention = 2 * size.hidden * size.hidden + 2 * size.hidden * head * size.kv_heads
    layer = attention + 3 * size.hidden * size.intermediate + 2 * size.hidden
    return size.layers * layer + 2 * size.vocabulary * size.hidden + size.hidden


def most_tokens_per_s(
    weight_bytes: int, bytes_per_s: float, lengths: list[int], *, together: bool
) -> float:
    """Return what reading the weights alone permits, in tokens per second.

    lengths: new tokens of each request.  together: one reading gives a token to each that still
    grows; otherwise every token takes a reading of its own.
    """
    readings = max(lengths) if together else sum(lengths)
    return sum(lengths) * bytes_per_s / (readings * weight_bytes)


def why_not(*, smoke: bool = False) -> str:
    """Return what keeps this benchmark from running here; nothing if it can."""
    for module in ("torch", "transformers"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed (the extra `transformers`)"
    import torch  # noqa: PLC0415

    if not smoke and not torch.cuda.is_available():
        return "torch sees no CUDA device here, so there is nothing to measure"
    return ""


def make_model(size: Size, *, on_cuda: bool) -> Any:
    """Make the model on the device, always the same."""
    import torch  # noqa: PLC0415
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    torch.set_default_dtype(torch.bfloat16 if on_cuda else torch.float32)
    try:
        with torch.device("cuda" if on_cuda else "cpu"):
            return LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)


def bandwidth(*, on_cuda: bool) -> float:
    """Measure how many bytes per second the device's memory gives and takes, by copying."""
    import torch  # noqa: PLC0415

    copied = COPIED_BYTES if on_cuda else TINY_COPIED_BYTES
    one = torch.empty(copied, dtype=torch.uint8, device="cuda" if on_cuda else "cpu")
    other = torch.empty_like(one)
    other.copy_(one)
    finish(on_cuda=on_cuda)
    began = time.perf_counter()
    for _ in range(COPIES):
        other.copy_(one)
    finish(on_cuda=on_cuda)
    return 2 * copied * COPIES / (time.perf_counter() - began)


def finish(*, on_cuda: bool) -> None:
    """Wait until the device is idle; a CPU is when the call returns."""
    import torch  # noqa: PLC0415

    if on_cuda:
        torch.cuda.synchronize()


def measure(size: Size, rounds: int, *, on_cuda: bool) -> None:
    """Run every way this number of times, in turn, and print the table."""
    from inference_worker.engines.transformers.runner import OwnRunner  # noqa: PLC0415
    from inference_worker.engines.transformers.scheduler import Limits  # noqa: PLC0415
    from tests.benchmarks import bench_generation as ways_of  # noqa: PLC0415

    model = make_model(size, on_cuda=on_cuda)
    shrink = 1 if on_cuda else TINY_SHRINK
    wanted = ways_of.wishes(shrink=shrink, vocabulary=min(size.vocabulary, ways_of.VOCABULARY))
    tokens = ways_of.REQUESTS * 512
    own = OwnRunner(model)
    pages = Limits(ways_of.REQUESTS, tokens, prefill_tokens=512, padded=False)
    ways: dict[str, Callable[[], list[list[int]]]] = {
        "one by one": lambda: ways_of.one_by_one(model, wanted),
        "round robin": lambda: ways_of.round_robin(model, wanted),
        "static batch": lambda: ways_of.static_batch(model, wanted),
        "continuous": lambda: ways_of.continuous(model, wanted),
        "paged runner": lambda: ways_of.paged(model, wanted, pages),
        "ours": lambda: ways_of.by_loop(own, Limits(ways_of.REQUESTS, tokens), wanted),
    }
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    lengths = [wish.new_tokens for wish in wanted]
    expected = ways_of.one_by_one(model, wanted)  # everybody warms up
    for number in range(rounds + 1):
        for way, go in ways.items():
            finish(on_cuda=on_cuda)
            began = time.perf_counter()
            answers = go()
            finish(on_cuda=on_cuda)
            seconds = time.perf_counter() - began
            if number:
                speeds[way].append(sum(lengths) / seconds)
            else:
                same = sum(a == b for a, b in zip(answers, expected, strict=True))
                print(f"{way}: {same} of {len(expected)} answers are those of one by one")
    weight_bytes = sum(part.nbytes for part in model.parameters())
    show(speeds, lengths, weight_bytes, bandwidth(on_cuda=on_cuda))


def show(
    speeds: Mapping[str, list[float]], lengths: list[int], weight_bytes: int, bytes_per_s: float
) -> None:
    """Print the medians, and what part of the floor's tokens they are."""
    ours = statistics.median(speeds["ours"])
    print(
        f"{len(lengths)} requests, {sum(lengths)} new tokens, {weight_bytes / 1e9:.2f} GB of "
        f"weights, {bytes_per_s / 1e9:.0f} GB/s: {1000 * weight_bytes / bytes_per_s:.2f} ms a step"
    )
    print(f"{'way':<14} {'tokens/s':>9} {'ours is':>8} {'at most':>9} {'reached':>8}")
    for way, rounds in speeds.items():
        median = statistics.median(rounds)
        together = way not in ("one by one", "round robin")
        most = most_tokens_per_s(weight_bytes, bytes_per_s, lengths, together=together)
        print(f"{way:<14} {median:>9.0f} {ours / median:>7.2f}x {most:>9.0f} {median / most:>8.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--billions", type=int, choices=sorted(SIZES), default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="Once, tiny, on the CPU.")
    arguments = parser.parse_args()
    if reason := why_not(smoke=arguments.smoke):
        sys.exit(f"bench_generation_gpu: {reason}.")
    if arguments.smoke:
        measure(TINY, 1, on_cuda=False)
    else:
        measure(SIZES[arguments.billions], arguments.rounds, on_cuda=True)
