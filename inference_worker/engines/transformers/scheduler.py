"""Who generates and who waits: first come, first served, within a number and a token budget.

Pure: it decides, the runner does.  A sequence is admitted with all that it can come to need
(its prompt and max_new_tokens), so one that runs is never put back for want of memory.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from inference_worker.engines.transformers.sequence import Sequence, Status

#: Most tokens of prompts in one step.
DEFAULT_PREFILL_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Limits:
    """What a runner can bear.

    sequences: at once.  tokens: of cache, in all.  prefill_tokens: of prompts in one step, so
    that those who generate already are not kept waiting for long; one prompt always fits, and is
    begun with a part of it when it is longer.
    padded: the cache is a rectangle, as wide as its longest row.
    """

    sequences: int
    tokens: int
    prefill_tokens: int = DEFAULT_PREFILL_TOKENS
    padded: bool = True


@dataclass(slots=True)
class Step:
    """What the runner is to do: forget `leaves`, one more token for `rows`, begin `joins`."""

    leaves: list[Sequence] = field(default_factory=list)
    rows: list[Sequence] = field(default_factory=list)
    joins: list[Sequence] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.leaves or self.rows or self.joins)


class Scheduler:
    """The waiting line and those who generate."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(not sequence.is_finished for sequence in self._waiting)

    @property
    def running(self) -> list[Sequence]:
        """Those who generate."""
        return [sequence for sequence in self._running if not sequence.is_finished]

    @property
    def reserved_tokens(self) -> int:
        """How much of the token budget is taken."""
        return self._cost(self.running)

    @property
    def is_idle(self) -> bool:
        """Whether there is nobody to do anything for."""
        return not self._waiting and not self._running

    def add(self, sequences: Iterable[Sequence]) -> None:
        """Put them at the end of the line."""
        self._waiting.extend(sequences)

    def schedule(self) -> Step:
        """Decide the next step: who has finished leaves, and whoever then fits joins."""
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
                # Nobody overtakes the first in line, or a long prompt would wait for ever.
                break
            head.status = Status.RUNNING
            joins.append(self._waiting.popleft())
        self._running = [*rows, *joins]
        return Step(leaves, rows, joins)

    def drop_all(self) -> list[Sequence]:
        """Forget everybody, waiting or running, and return those who had not finished."""
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
