"""Our own batched loop: every row that generates takes one step together.

A prompt is computed alone, so that a bad one fails alone; its row joins the grid at the next
step's beginning.  It works with any decoder that has full or sliding attention and takes an
attention mask and position ids, on any device.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from inference_worker.engines.engine import Failed
from inference_worker.engines.failures import failure_of
from inference_worker.engines.transformers.grid import Grid, Prefilled
from inference_worker.engines.transformers.sampling import Sampler
from inference_worker.engines.transformers.scheduler import Step
from inference_worker.engines.transformers.sequence import Pick, Sampling, Sequence

#: What became of one sequence in a step.
Outcome = tuple[Sequence, Pick | Failed]


class UnfitModel(Exception):
    """The model keeps something else than keys and values of each token."""


class OwnRunner:
    """Runs the steps on a model."""

    name = "own"
    #: The cache is a rectangle, so the token budget counts the padding.
    padded = True

    def __init__(self, model: Any) -> None:
        """Try the model; raise UnfitModel when rows of it cannot be put together."""
        self._model = model
        self._device = model.device
        self._grid = Grid()
        self._sampler = Sampler()
        self._rows: list[Sequence] = []
        self._fresh: dict[Sequence, Prefilled] = {}
        # Without it, the logits of a long prompt take more memory than the model.
        parameters = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        self.bytes_per_token = self._measure()

    def run(self, step: Step) -> list[Outcome]:
        """Take one step: a token for each row, the first one for each that joins."""
        outcomes: list[Outcome] = []
        with torch.inference_mode():
            self._leave(step.leaves)
            self._join()
            if self._rows:
                outcomes += zip(self._rows, self._decode(), strict=True)
            outcomes += self._prefill_each(step.joins)
        return outcomes

    def refuses(self, sampling: Sampling) -> str | None:
        """Say what of these wishes cannot be had here; None when all can."""
        return None

    def reset(self) -> None:
        """Forget every row, after a step that failed as a whole."""
        self._grid = Grid()
        self._rows = []
        self._fresh = {}

    def close(self) -> None:
        """Free the memory."""
        self.reset()

    def _leave(self, leaves: list[Sequence]) -> None:
        for sequence in leaves:
            if self._fresh.pop(sequence, None) is None and sequence in self._rows:
                row = self._rows.index(sequence)
                taken_by = self._grid.leave(row)
                self._rows[row] = self._rows[taken_by]
                self._rows.pop()

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

    def _prefill_each(self, joins: list[Sequence]) -> Iterator[Outcome]:
        prompt: tuple[int, ...] | None = None
        logits, cache = torch.empty(0), Prefilled()
        for sequence in joins:
            try:
                # The choices of one job have one prompt, which is computed once.
                if sequence.prompt is not prompt:
                    logits, cache = self._prefill(sequence.prompt)
                    prompt = sequence.prompt
                (pick,) = self._sampler.pick(logits, [sequence])
            except Exception as error:
                prompt = None
                yield sequence, failure_of(error)
                continue
            if isinstance(pick, Pick):
                self._fresh[sequence] = cache
            yield sequence, pick

    def _prefill(self, prompt: tuple[int, ...]) -> tuple[Tensor, Prefilled]:
        # Made without the model's configuration, every layer keeps all of its tokens, also one
        # with a sliding window: rows can be moved then, and the window is the mask's business.
        cache = DynamicCache()
        output = self._model(
            input_ids=torch.tensor([prompt], device=self._device),
            past_key_values=cache,
            use_cache=True,
            **self._last_only,
        )
        return output.logits[:, -1], [(layer.keys, layer.values) for layer in cache.layers]

    def _measure(self) -> int:
        """Compute a prompt of one token; return what one token takes in the cache, in bytes."""
        try:
            with torch.inference_mode():
                _, cache = self._prefill((0,))
            shapes = {tensor.shape[::2] for pair in cache for tensor in pair}
        except Exception as error:
            raise UnfitModel(f"{type(error).__name__}: {error}") from error
        if shapes != {torch.Size([1, 1])}:
            raise UnfitModel("its layers do not all keep the keys and values of each token")
        return sum(tensor.nbytes for pair in cache for tensor in pair)
