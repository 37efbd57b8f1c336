"""One answer that grows: its prompt, what was picked for it so far, and how it ended.

    waiting ── joins a step ──> running ── stop | length | cancelled | failed ──> finished

Pure: no model, no clock.  A job with `n` choices is `n` sequences with one prompt.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from inference_worker.engines.engine import Failed
from inference_worker.engines.transformers.stops import Writer

#: Below this a temperature is 0: what it would be divided by no longer fits into a float32.
LEAST_TEMPERATURE = 1e-5


class Status(StrEnum):
    """Where a sequence is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class FinishReason(StrEnum):
    """Why nothing more is added to an answer."""

    STOP = "stop"  # a stop token or a stop string
    LENGTH = "length"  # max_new_tokens
    CANCELLED = "cancelled"  # nobody wants it any more


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is picked, and when the answer ends.

    temperature: 0 is greedy.  top_k: 0 is off.  seed: None is a new one each time.
    logprobs: None is none, 0 those of the picked tokens, k also the k likeliest of each step.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    stop_ids: frozenset[int] = frozenset()
    stop: tuple[str, ...] = ()
    logprobs: int | None = None

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature < LEAST_TEMPERATURE

    @property
    def has_penalties(self) -> bool:
        """Whether what was said before changes what comes."""
        return (
            self.repetition_penalty != 1.0
            or self.frequency_penalty != 0.0
            or self.presence_penalty != 0.0
        )


@dataclass(frozen=True, slots=True)
class Pick:
    """A token that was picked; its log probability and the likeliest ones where asked for."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(eq=False)
class Sequence:
    """One answer; `choice` tells it from the others of its job, from 0."""

    prompt: tuple[int, ...]
    sampling: Sampling
    decode: Callable[[list[int]], str]
    choice: int = 0
    status: Status = Status.WAITING
    picks: list[Pick] = field(default_factory=list)
    text: str = ""
    finish_reason: FinishReason | None = None
    failed: Failed | None = None

    def __post_init__(self) -> None:
        self._writer = Writer(self.decode, self.sampling.stop)

    @property
    def is_finished(self) -> bool:
        """Whether it takes no more tokens."""
        return self.status is Status.FINISHED

    @property
    def reserved_tokens(self) -> int:
        """The most columns of the cache that it can come to need."""
        return len(self.prompt) + self.sampling.max_new_tokens

    @property
    def tokens(self) -> list[int]:
        """The ids that were picked, a stop token included."""
        return [pick.token for pick in self.picks]

    def take(self, pick: Pick) -> str:
        """Add what was picked; return the piece of text that may be shown because of it."""
        self.picks.append(pick)
        if pick.token in self.sampling.stop_ids:
            return self._end(FinishReason.STOP)
        piece = self._writer.push(pick.token)
        self.text += piece
        if self._writer.stopped:
            self._finish(FinishReason.STOP)
        elif len(self.picks) >= self.sampling.max_new_tokens:
            return piece + self._end(FinishReason.LENGTH)
        return piece

    def cancel(self) -> None:
        """Nobody wants it any more."""
        if not self.is_finished:
            self._finish(FinishReason.CANCELLED)

    def fail(self, failed: Failed) -> None:
        """It cannot go on."""
        self.failed = failed
        self.status = Status.FINISHED

    def _end(self, reason: FinishReason) -> str:
        rest = self._writer.rest()
        self.text += rest
        self._finish(reason)
        return rest

    def _finish(self, reason: FinishReason) -> None:
        self.finish_reason = reason
        self.status = Status.FINISHED
