"""Decides which sequences generate and which wait: first come, first served, within two limits.

Pure.  A sequence is admitted only if all its tokens fit (its prompt and max_new_tokens), so a
running one is never evicted for lack of memory.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from inference_worker.engines.transformers.sequence import Sequence, Status

#: The most tokens of prompts in one step.
DEFAULT_PREFILL_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a runner.

    sequences: at once.  tokens: of cache, in total.  prefill_tokens: of prompts in one step, so
    that generating sequences do not wait long; one prompt is always admitted, and computed in parts
    if it is longer.
    padded: the cache is a rectangle, as wide as its longest row.
    """

    sequences: int
    tokens: int
    prefill_tokens: int = DEFAULT_PREFILL_TOKENS
    padded: bool = True


@dataclass(slots=True)
class Step:
    """The task of the runner: remove `leaves`, one more token for `rows`, start `joins`."""

    leaves: list[Sequence] = field(default_factory=list)
    rows: list[Sequence] = field(default_factory=list)
    joins: list[Sequence] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.leaves or self.rows or self.joins)


class Scheduler:
    """The waiting and the generating sequences."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []

    @property
    def waiting(self) -> int:
        """The number of waiting sequences."""
        return sum(not sequence.is_finished for sequence in self._waiting)

    @property
    def running(self) -> list[Sequence]:
        """The generating sequences."""
        return [sequence for sequence in self._running if not sequence.is_finished]

    @property
    def reserved_tokens(self) -> int:
        """The used part of the token limit."""
        return self._cost(self.running)

    @property
    def is_idle(self) -> bool:
        """Whether there are no sequences."""
        return not self._waiting and not self._running

    def add(self, sequences: Iterable[Sequence]) -> None:
        """Add sequences at the end of the waiting queue."""
        self._waiting.extend(sequences)

    def schedule(self) -> Step:
        """Return the next step: finished sequences leave, and waiting ones join if they fit."""
        leaves = [sequence for sequence in self._running if sequence.is_finished]
        rows = self.running
        joins: list[Sequence] = []
        prompt_tokens = 0
        while self._waiting:
            head = self._waiting[0]
            if head.is_finished:
                # Cancelled while it waited.
                self._waiting.popleft()
                continue
            prompt_tokens += len(head.prompt)
            if joins and prompt_tokens > self.limits.prefill_tokens:
                break
            if not self._fits([*rows, *joins, head]):
                # No overtaking, or a long prompt could wait for ever.
                break
            head.status = Status.RUNNING
            joins.append(self._waiting.popleft())
        self._running = [*rows, *joins]
        return Step(leaves, rows, joins)

    def drop_all(self) -> list[Sequence]:
        """Remove all sequences, and return the unfinished ones."""
        dropped = [s for s in (*self._running, *self._waiting) if not s.is_finished]
        self._running.clear()
        self._waiting.clear()
        return dropped

    def _fits(self, sequences: list[Sequence]) -> bool:
        within_number = len(sequences) <= self.limits.sequences
        return within_number and self._cost(sequences) <= self.limits.tokens

    def _cost(self, sequences: list[Sequence]) -> int:
        reserved = [sequence.reserved_tokens for sequence in sequences]
        if self.limits.padded:
            return len(reserved) * max(reserved, default=0)
        return sum(reserved)
