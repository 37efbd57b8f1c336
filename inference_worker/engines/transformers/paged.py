"""The second runner: transformers' continuous batching, with a paged cache.

It is faster on CUDA with flash attention.  The library runs its steps in its own thread; a step of
our loop passes on which sequences join and leave, and collects the tokens since the last step.

The library's manager dies from one bad request (an unknown id, an empty or too long prompt, a
temperature of 0).  So all requests are checked before they get here, and a dead manager is
replaced. It supports temperature, top_k and top_p per request; other parameters are refused.
"""

import itertools
import logging
from typing import Any

from transformers import ContinuousBatchingConfig, GenerationConfig

from inference_worker.engines.engine import Failed
from inference_worker.engines.transformers.choice import beyond_paged
from inference_worker.engines.transformers.scheduler import Limits, Step
from inference_worker.engines.transformers.sequence import Pick, Sampling, Sequence

#: Tokens of one page on a CPU, and with flash attention.
CPU_PAGE, GPU_PAGE = 32, 256

#: How long a step waits for the first token, in seconds; orders are executed in between.
PATIENCE_S = 0.02

#: An id that no token has, for a request without an end token.
NO_TOKEN = -1

log = logging.getLogger(__name__)


class ManagerDied(Exception):
    """The library's generation thread has ended."""


class PagedRunner:
    """Runs the steps through a continuous batching manager."""

    name = "paged"
    #: Pages hold what a row needs and no padding.
    padded = False

    def __init__(self, model: Any, limits: Limits) -> None:
        self._model = model
        self._limits = limits
        self._numbers = itertools.count(1)
        self._sequences: dict[str, Sequence] = {}
        self._ids: dict[Sequence, str] = {}
        self._seen: dict[str, int] = {}
        self._manager = self._make()
        self.bytes_per_token = 0

    def run(self, step: Step) -> list[tuple[Sequence, Pick | Failed]]:
        """Pass on which sequences leave and join; return the tokens since the last step."""
        for sequence in step.leaves:
            self._leave(sequence)
        for sequence in step.joins:
            self._join(sequence)
        outcomes: list[tuple[Sequence, Pick | Failed]] = []
        wait_s = PATIENCE_S
        while output := self._manager.get_result(timeout=wait_s):
            outcomes += self._read(output)
            wait_s = 0.0
            if self._manager.output_router.output_queue.empty():
                break
        fatal = self._manager.background_thread_status.fatal_error
        if fatal is not None or not self._manager.is_running():
            raise ManagerDied(f"continuous batching has ended: {fatal}")
        return outcomes

    def refuses(self, sampling: Sampling) -> str | None:
        """Return a parameter that it cannot set per request; None if it supports all."""
        return beyond_paged(sampling)

    def reset(self) -> None:
        """Replace the manager."""
        self.close()
        self._sequences, self._ids, self._seen = {}, {}, {}
        self._manager = self._make()

    def close(self) -> None:
        """Stop the library's thread."""
        self._manager.stop(block=True, timeout=5.0, hard_stop=True)

    def _make(self) -> Any:
        page = GPU_PAGE if self._model.device.type == "cuda" else CPU_PAGE
        rows, tokens = self._limits.sequences, self._limits.tokens
        batching = ContinuousBatchingConfig(
            page_size=page,
            # 25 % more: a row wastes part of its last page, and the scheduler keeps some pages
            # free.
            num_blocks=int(1.25 * (-(-tokens // page) + rows)) + 1,
            max_batch_tokens=max(self._limits.prefill_tokens, rows),
            max_requests_per_batch=rows,
            per_request_processors=True,
        )
        # A parameter can be set per request only if the manager was created with a value for it, so
        # it gets a harmless value for each.
        generation = GenerationConfig(
            do_sample=True,
            temperature=0.7,
            top_k=50,
            top_p=0.9,
            eos_token_id=NO_TOKEN,
            pad_token_id=0,
        )
        manager = self._model.init_continuous_batching(
            generation_config=generation, continuous_batching_config=batching
        )
        manager.start()
        return manager

    def _join(self, sequence: Sequence) -> None:
        wanted = sequence.sampling
        name = str(next(self._numbers))
        self._sequences[name], self._ids[sequence], self._seen[name] = sequence, name, 0
        vocabulary = self._model.get_input_embeddings().num_embeddings
        self._manager.add_request(
            list(sequence.prompt),
            request_id=name,
            max_new_tokens=wanted.max_new_tokens,
            streaming=True,
            eos_token_id=sorted(wanted.stop_ids) or [NO_TOKEN],
            # Greedy is the same as sampling from the single likeliest token.
            top_k=1 if wanted.is_greedy else wanted.top_k or vocabulary,
            top_p=1.0 if wanted.is_greedy else float(wanted.top_p),
            temperature=1.0 if wanted.is_greedy else float(wanted.temperature),
        )

    def _leave(self, sequence: Sequence) -> None:
        name = self._ids.pop(sequence, None)
        if name is not None:
            del self._sequences[name], self._seen[name]
            # The request may have ended by itself; the manager ignores unknown ids.
            self._manager.cancel_request(name)

    def _read(self, output: Any) -> list[tuple[Sequence, Pick | Failed]]:
        """Return the new tokens of an output, which repeats all earlier ones."""
        sequence = self._sequences.get(output.request_id)
        if sequence is None:
            return []
        if output.error is not None:
            return [(sequence, Failed("PagedRunner", output.error, retryable=True))]
        tokens = list(output.generated_tokens)
        new = tokens[self._seen[output.request_id] :]
        self._seen[output.request_id] = len(tokens)
        return [(sequence, Pick(token)) for token in new]
