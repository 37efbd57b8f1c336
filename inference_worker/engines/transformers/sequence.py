"""One answer in generation: its prompt, its tokens so far, and how it ended.

    waiting ── joins a step ──> running ── stop | length | cancelled | failed ──> finished

Pure: no model, no clock.  A job with `n` choices has `n` sequences with the same prompt.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from inference_worker.engines.engine import Failed
from inference_worker.engines.transformers.stops import Writer

#: A lower temperature counts as 0: dividing by it would overflow a float32.
LEAST_TEMPERATURE = 1e-5


class Status(StrEnum):
    """The state of a sequence."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class FinishReason(StrEnum):
    """Why an answer has ended."""

    STOP = "stop"  # a stop token or a stop string
    LENGTH = "length"  # max_new_tokens
    CANCELLED = "cancelled"  # its job was cancelled


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is picked, and when the answer ends.

    temperature: 0 is greedy.  top_k: 0 is off.  seed: None means a random one.
    logprobs: None is off, 0 returns those of the picked tokens, k also the k likeliest per step.
    min_tokens: none of stop_ids is picked before.  biases: token ids, and what is added to their
    scores.  allowed_ids: no others are picked.
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
    includes_stop: bool = False
    min_tokens: int = 0
    biases: tuple[tuple[int, float], ...] = ()
    allowed_ids: frozenset[int] | None = None

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always picked."""
        return self.temperature < LEAST_TEMPERATURE

    @property
    def has_penalties(self) -> bool:
        """Whether earlier tokens change the scores."""
        return (
            self.repetition_penalty != 1.0
            or self.frequency_penalty != 0.0
            or self.presence_penalty != 0.0
        )

    @property
    def is_steered(self) -> bool:
        """Whether the request itself changes scores."""
        return bool(self.biases) or self.allowed_ids is not None or self.min_tokens > 0


@dataclass(frozen=True, slots=True)
class Pick:
    """A picked token; its log probability and the likeliest tokens, if requested."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(eq=False)
class Sequence:
    """One answer; `choice` is its number within the job, from 0."""

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
        self._writer = Writer(
            self.decode, self.sampling.stop, includes_stop=self.sampling.includes_stop
        )

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return self.status is Status.FINISHED

    @property
    def reserved_tokens(self) -> int:
        """The most columns of the cache that it can need."""
        return len(self.prompt) + self.sampling.max_new_tokens

    @property
    def tokens(self) -> list[int]:
        """The picked ids, including a stop token."""
        return [pick.token for pick in self.picks]

    def add(self, pick: Pick) -> str:
        """Add a token; return the text that can be shown now."""
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
        """End it, because its job was cancelled."""
        if not self.is_finished:
            self._finish(FinishReason.CANCELLED)

    def fail(self, failed: Failed) -> None:
        """End it with a failure."""
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
