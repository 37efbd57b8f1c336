"""Our own runner: all generating rows take one step together.

A prompt is computed alone, so that a bad one fails alone.  A long prompt is computed in parts, so
that other rows get tokens in between.  Its row joins the grid at the start of the next step.  The
runner supports every decoder with full or sliding attention that takes an attention mask and
position ids, on any device.
"""

import inspect
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from inference_worker.engines.engine import Failed
from inference_worker.engines.failures import failure_of
from inference_worker.engines.transformers.grid import Grid, Prefilled
from inference_worker.engines.transformers.sampling import Sampler
from inference_worker.engines.transformers.scheduler import DEFAULT_PREFILL_TOKENS, Step
from inference_worker.engines.transformers.sequence import Pick, Sampling, Sequence

#: The outcome of one sequence in a step.
Outcome = tuple[Sequence, Pick | Failed]


class UnfitModel(Exception):
    """The model's cache is not keys and values per token, so its rows cannot be batched."""


@dataclass(eq=False, slots=True)
class _Prompt:
    """A prompt in computation: `done` tokens of it, and the sequences that need it."""

    tokens: tuple[int, ...]
    sequences: list[Sequence]
    cache: DynamicCache
    done: int = 0


class OwnRunner:
    """Runs the steps on a model."""

    name = "own"
    #: The cache is a rectangle, so the token budget counts the padding.
    padded = True

    def __init__(self, model: Any, *, prefill_tokens: int = DEFAULT_PREFILL_TOKENS) -> None:
        """Test the model; raises UnfitModel if its rows cannot be batched.

        prefill_tokens: the most tokens of prompts in one step.
        """
        self._model = model
        self._prefill_tokens = prefill_tokens
        self._device = model.device
        self._grid = Grid()
        self._sampler = Sampler()
        self._rows: list[Sequence] = []
        self._prompts: deque[_Prompt] = deque()
        self._fresh: dict[Sequence, Prefilled] = {}
        # Only the last token's logits: those of a whole long prompt need more memory than the
        # model.
        parameters = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        self.bytes_per_token = self._measure()

    def run(self, step: Step) -> list[Outcome]:
        """Run one step: a token for each row, and the first token for each that joins."""
        outcomes: list[Outcome] = []
        with torch.inference_mode():
            self._leave(step.leaves)
            self._join()
            if self._rows:
                outcomes += zip(self._rows, self._decode(), strict=True)
            self._queue(step.joins)
            outcomes += self._prefill()
        return outcomes

    def refuses(self, sampling: Sampling) -> str | None:
        """Return None: it supports all parameters."""
        return None

    def reset(self) -> None:
        """Forget every row, after a step that failed as a whole."""
        self._grid = Grid()
        self._rows = []
        self._fresh = {}
        self._prompts.clear()

    def close(self) -> None:
        """Free the memory."""
        self.reset()

    def _leave(self, leaves: list[Sequence]) -> None:
        for sequence in leaves:
            if self._fresh.pop(sequence, None) is not None:
                continue
            if sequence in self._rows:
                row = self._rows.index(sequence)
                taken_by = self._grid.leave(row)
                self._rows[row] = self._rows[taken_by]
                self._rows.pop()
            for prompt in [one for one in self._prompts if sequence in one.sequences]:
                prompt.sequences.remove(sequence)
                if not prompt.sequences:
                    self._prompts.remove(prompt)

    def _join(self) -> None:
        fresh, self._fresh = self._fresh, {}
        self._grid.join(list(fresh.values()))
        self._rows += fresh

    def _decode(self) -> list[Pick | Failed]:
        grid = self._grid
        last = [[sequence.picks[-1].token] for sequence in self._rows]
        positions = [[length] for length in grid.lengths]
        output = self._model(
            input_ids=torch.tensor(last, device=self._device),
            attention_mask=grid.mask(),
            position_ids=torch.tensor(positions, device=self._device),
            past_key_values=grid.cache,
            use_cache=True,
        )
        grid.advance()
        return self._sampler.pick(output.logits[:, -1], self._rows)

    def _queue(self, joins: list[Sequence]) -> None:
        for sequence in joins:
            # The choices of one job share a prompt, which is computed once.
            last = self._prompts[-1] if self._prompts else None
            if last is not None and last.tokens is sequence.prompt and not last.done:
                last.sequences.append(sequence)
                continue
            # Without the model's configuration, every layer keeps all tokens, even one with a
            # sliding window.  So rows can be moved, and the mask implements the window.
            self._prompts.append(_Prompt(sequence.prompt, [sequence], DynamicCache()))

    def _prefill(self) -> Iterator[Outcome]:
        """Compute the next part of the prompts; yield the first token of each complete one."""
        left = self._prefill_tokens
        while self._prompts and left > 0:
            head = self._prompts[0]
            part = head.tokens[head.done : head.done + left]
            try:
                logits = self._compute(part, head.cache)
            except Exception as error:
                self._prompts.popleft()
                failed = failure_of(error)
                yield from ((sequence, failed) for sequence in head.sequences)
                continue
            left -= len(part)
            head.done += len(part)
            if head.done == len(head.tokens):
                self._prompts.popleft()
                yield from self._first_picks(head, logits)

    def _first_picks(self, prompt: "_Prompt", logits: Tensor) -> Iterator[Outcome]:
        cache = [(layer.keys, layer.values) for layer in prompt.cache.layers]
        for sequence in prompt.sequences:
            try:
                (pick,) = self._sampler.pick(logits, [sequence])
            except Exception as error:
                yield sequence, failure_of(error)
                continue
            if isinstance(pick, Pick):
                self._fresh[sequence] = cache
            yield sequence, pick

    def _compute(self, tokens: tuple[int, ...], cache: DynamicCache) -> Tensor:
        """Append these tokens to the cache; return the logits of the last one."""
        output = self._model(
            input_ids=torch.tensor([tokens], device=self._device),
            past_key_values=cache,
            use_cache=True,
            **self._last_only,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _measure(self) -> int:
        """Compute a prompt of one token; return the size of one token in the cache, in bytes."""
        try:
            with torch.inference_mode():
                made = DynamicCache()
                self._compute((0,), made)
            cache = [(layer.keys, layer.values) for layer in made.layers]
            shapes = {tensor.shape[::2] for pair in cache for tensor in pair}
        except Exception as error:
            raise UnfitModel(f"{type(error).__name__}: {error}") from error
        if shapes != {torch.Size([1, 1])}:
            raise UnfitModel("its layers do not all keep the keys and values of each token")
        return sum(tensor.nbytes for pair in cache for tensor in pair)
