"""Tokens per second of a language model: our batched loop against the other ways.

    nice python -m tests.benchmarks.bench_generation [--rounds 3] [--threads 1]

The same in one run: a random Llama of 28 million parameters in float32, 16 requests of 16 to 256
tokens of prompt and 64 to 256 new tokens, all there at once, greedy, no end token.  Every way has
to give the very same tokens.  The ways take turns; the table shows the median of the rounds.

    one by one        model.generate for one request after the other
    round robin       one token for each request in turn, each with a cache of its own
    static batch      one padded model.generate for all, as long as the longest takes
    continuous        transformers' own continuous batching, as the library runs it
    paged runner      the same behind our scheduler, with wishes for each request
    ours              the loop of the engine `transformers`, without the engine around it
    engine            the same with the engine: JSON in, text and JSON out, as jobs of a worker
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, DynamicCache, GenerationConfig

from inference_worker.engines.engine import Context, Engine, Finished, Job
from inference_worker.engines.transformers.engine import TransformersEngine
from inference_worker.engines.transformers.loop import GenerationLoop, Runner, Update
from inference_worker.engines.transformers.options import GenerationOptions
from inference_worker.engines.transformers.paged import PagedRunner
from inference_worker.engines.transformers.runner import OwnRunner
from inference_worker.engines.transformers.scheduler import Limits
from inference_worker.engines.transformers.sequence import Sampling, Sequence
from tests.inference_worker.transformers.tiny_model import save_random_llama

REQUESTS = 16
VOCABULARY = 8192
SEED = 5

#: Tokens of one page of transformers' cache.
PAGE = 256

Answers = list[list[int]]


@dataclass(frozen=True, slots=True)
class Wish:
    """One request."""

    prompt: tuple[int, ...]
    new_tokens: int


def wishes(*, shrink: int = 1, vocabulary: int = VOCABULARY) -> list[Wish]:
    """Return the mix, always the same; prompts and answers divided by this number."""
    dice = random.Random(SEED)
    return [
        Wish(
            tuple(dice.randrange(10, vocabulary) for _ in range(dice.randint(16, 256) // shrink)),
            dice.randint(64, 256) // shrink,
        )
        for _ in range(REQUESTS)
    ]


def save_model(folder: Path) -> Any:
    """Save the model, always the same, and return it."""
    return save_random_llama(
        folder, vocabulary=VOCABULARY, hidden=512, layers=8, heads=8, kv_heads=4
    )


def generate(model: Any, batch: list[Wish], **more: Any) -> Any:
    longest = max(len(wish.prompt) for wish in batch)
    padded = [[0] * (longest - len(wish.prompt)) + list(wish.prompt) for wish in batch]
    mask = [[0] * (longest - len(wish.prompt)) + [1] * len(wish.prompt) for wish in batch]
    new_tokens = max(wish.new_tokens for wish in batch)
    output = model.generate(
        input_ids=torch.tensor(padded, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    return output[:, longest:].tolist()


def one_by_one(model: Any, wanted: list[Wish]) -> Answers:
    return [generate(model, [wish])[0] for wish in wanted]


def static_batch(model: Any, wanted: list[Wish]) -> Answers:
    rows = generate(model, wanted)
    return [row[: wish.new_tokens] for row, wish in zip(rows, wanted, strict=True)]


def round_robin(model: Any, wanted: list[Wish]) -> Answers:
    caches = [DynamicCache() for _ in wanted]
    answers: Answers = [[] for _ in wanted]
    growing = list(range(len(wanted)))
    while growing:
        for row in list(growing):
            given = answers[row][-1:] or list(wanted[row].prompt)
            with torch.inference_mode():
                output = model(
                    input_ids=torch.tensor([given], device=model.device),
                    past_key_values=caches[row],
                    use_cache=True,
                    logits_to_keep=1,
                )
            answers[row].append(int(output.logits[0, -1].argmax()))
            if len(answers[row]) == wanted[row].new_tokens:
                growing.remove(row)
    return answers


def continuous(model: Any, wanted: list[Wish]) -> Answers:
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=PAGE, num_blocks=2 * REQUESTS + 1, max_batch_tokens=512
        ),
    )
    manager.start()
    try:
        for number, wish in enumerate(wanted):
            manager.add_request(
                list(wish.prompt), request_id=str(number), max_new_tokens=wish.new_tokens
            )
        outputs = [manager.get_result(timeout=60.0) for _ in wanted]
    finally:
        manager.stop(block=True, hard_stop=True)
    tokens = {output.request_id: list(output.generated_tokens) for output in outputs}
    return [tokens[str(number)] for number in range(len(wanted))]


def by_loop(runner: Runner, limits: Limits, wanted: list[Wish]) -> Answers:
    """Drive a runner by our loop, in this thread."""
    ended = 0

    def count(updates: list[Update]) -> None:
        nonlocal ended
        ended += sum(update.is_last for update in updates)

    loop = GenerationLoop(runner, limits, deliver=count)
    sequences = [
        Sequence(wish.prompt, Sampling(wish.new_tokens), lambda ids: "") for wish in wanted
    ]
    loop.begin(sequences)
    while ended < len(wanted):
        loop.step()
    loop.step()  # lets the last ones leave
    return [sequence.tokens for sequence in sequences]


def paged(model: Any, wanted: list[Wish], limits: Limits) -> Answers:
    runner = PagedRunner(model, limits)
    try:
        return by_loop(runner, limits, wanted)
    finally:
        runner.close()


def body_of(wish: Wish) -> bytes:
    """Return the request as the body of a job."""
    body = {
        "prompt": list(wish.prompt),
        "max_tokens": wish.new_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "return_token_ids": True,
    }
    return json.dumps(body).encode()


async def answer_of(engine: Engine, wish: Wish) -> list[int]:
    """Return the tokens that an engine gives for one request."""
    events = [event async for event in engine.run(Job("r", body_of(wish)))]
    assert isinstance(events[-1], Finished), events[-1]
    ids: list[int] = json.loads(events[-1].output)["token_ids"]
    return ids


async def by_engine(engine: TransformersEngine, wanted: list[Wish]) -> Answers:
    return list(await asyncio.gather(*(answer_of(engine, wish) for wish in wanted)))


async def measure(rounds: int, threads: int) -> None:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        model = save_model(Path(folder))
        wanted = wishes()
        new_tokens = sum(wish.new_tokens for wish in wanted)
        tokens = REQUESTS * 512
        limits = Limits(REQUESTS, tokens)
        pages = Limits(REQUESTS, tokens, prefill_tokens=512, padded=False)
        own = OwnRunner(model)
        engine = TransformersEngine(
            folder, GenerationOptions(max_tokens_in_batch=tokens), capacity=REQUESTS
        )
        await engine.start(Context())
        ways: dict[str, Callable[[], Any]] = {
            "one by one": lambda: one_by_one(model, wanted),
            "round robin": lambda: round_robin(model, wanted),
            "static batch": lambda: static_batch(model, wanted),
            "continuous": lambda: continuous(model, wanted),
            "paged runner": lambda: paged(model, wanted, pages),
            "ours": lambda: by_loop(own, limits, wanted),
            "engine": lambda: by_engine(engine, wanted),
        }
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        expected = one_by_one(model, wanted)  # everybody warms up
        for number in range(rounds + 1):
            for way, go in ways.items():
                if number == 0 and way == "one by one":
                    continue
                began = time.perf_counter()
                answers = go()
                if asyncio.iscoroutine(answers):
                    answers = await answers
                seconds = time.perf_counter() - began
                same = sum(a == b for a, b in zip(answers, expected, strict=True))
                if same < REQUESTS:
                    print(f"{way}: only {same} of {REQUESTS} answers are those of one by one")
                if number:
                    speeds[way].append(new_tokens / seconds)
        await engine.stop(5.0)
    show(speeds, new_tokens, threads)


def show(speeds: dict[str, list[float]], new_tokens: int, threads: int) -> None:
    ours = statistics.median(speeds["ours"])
    print(f"{REQUESTS} requests, {new_tokens} new tokens, {threads} torch threads, float32")
    print(f"{'way':<14} {'tokens/s':>9} {'least':>7} {'most':>7} {'ours is':>8}")
    for way, rounds in speeds.items():
        median = statistics.median(rounds)
        print(
            f"{way:<14} {median:>9.0f} {min(rounds):>7.0f} {max(rounds):>7.0f}"
            f" {ours / median:>7.2f}x"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.threads))
