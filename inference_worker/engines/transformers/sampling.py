"""Picks the next token, row by row, so that an error in one row affects no other.

The order is that of transformers: penalties, what the request steers, temperature, top_k, top_p,
min_p.  Greedy rows, which are the most common, are picked together.
"""

import secrets
from collections.abc import Iterable
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from inference_worker.engines.engine import BAD_INPUT, Failed
from inference_worker.engines.transformers.sequence import Pick, Sampling, Sequence

NO_NUMBER = Failed(BAD_INPUT, "the model's output for this input has NaN or infinity", False)


#: The log probability of an impossible token, as in OpenAI's API.
LEAST_LOGPROB = -9999.0


@dataclass(frozen=True, slots=True)
class _Steering:
    """The wishes of a request as tensors, which are made once: there may be thousands of ids.

    refused, ends: for each token whether it is never picked, and whether it ends the answer.
    """

    refused: Tensor | None
    biased: Tensor
    biases: Tensor
    ends: Tensor | None

    @classmethod
    def of(cls, wanted: Sampling, scores: Tensor) -> "_Steering":
        def marked(tokens: Iterable[int]) -> Tensor:
            marks = torch.zeros_like(scores, dtype=torch.bool)
            marks[ids(token for token in tokens if token < scores.shape[-1])] = True
            return marks

        def ids(tokens: Iterable[int]) -> Tensor:
            return torch.tensor(list(tokens), dtype=torch.long, device=scores.device)

        return cls(
            None if wanted.allowed_ids is None else ~marked(wanted.allowed_ids),
            ids(token for token, _ in wanted.biases),
            scores.new_tensor([bias for _, bias in wanted.biases]),
            marked(wanted.stop_ids) if wanted.min_tokens else None,
        )


@dataclass(slots=True)
class _Row:
    """The state of a row between two steps."""

    generator: torch.Generator
    counts: Tensor | None = None  # how often the answer has each token
    seen: Tensor | None = None  # whether the prompt or the answer has it
    steering: _Steering | None = None


class Sampler:
    """Picks one token for each row."""

    def __init__(self) -> None:
        # Weak references, so that no state outlives its sequence.
        self._rows: WeakKeyDictionary[Sequence, _Row] = WeakKeyDictionary()

    def pick(self, logits: Tensor, sequences: Rows[Sequence]) -> list[Pick | Failed]:
        """Return a token for each row of `logits` [rows, vocabulary], or why there is none."""
        values, likeliest = logits.max(dim=-1)
        # `max` returns NaN if there is a NaN anywhere in the row.
        sound = values.isfinite().tolist()
        tokens = likeliest.tolist()
        picks: list[Pick | Failed] = []
        for row, sequence in enumerate(sequences):
            wanted = sequence.sampling
            if not sound[row]:
                picks.append(NO_NUMBER)
            elif (
                wanted.is_greedy
                and not wanted.has_penalties
                and not wanted.is_steered
                and wanted.logprobs is None
            ):
                picks.append(Pick(tokens[row]))
            else:
                picks.append(self._pick_row(logits[row].float(), sequence))
        return picks

    def _pick_row(self, logits: Tensor, sequence: Sequence) -> Pick | Failed:
        wanted = sequence.sampling
        row = self._rows.get(sequence)
        if row is None:
            row = self._rows[sequence] = _new_row(logits, sequence)
        scores = _penalised(logits, row, wanted) if wanted.has_penalties else logits
        if wanted.is_steered:
            row.steering = row.steering or _Steering.of(wanted, scores)
            waits = len(sequence.picks) < wanted.min_tokens
            scores = _steered(scores, row.steering, waits=waits)
        if scores is not logits and not bool(scores.max().isfinite()):
            return NO_NUMBER
        greedy = wanted.is_greedy
        token = int(scores.argmax()) if greedy else draw(scores, wanted, row.generator)
        if row.counts is not None and row.seen is not None:
            row.counts[token] += 1
            row.seen[token] = True
        if wanted.logprobs is None:
            return Pick(token)
        return _with_logprobs(token, logits, wanted.logprobs)


def draw(scores: Tensor, wanted: Sampling, generator: torch.Generator) -> int:
    """Draw a token from one row of scores."""
    ids: Tensor | None = None
    if 0 < wanted.top_k < scores.shape[-1]:
        scores, ids = scores.topk(wanted.top_k)
    elif wanted.top_p < 1.0 or wanted.min_p > 0.0:
        scores, ids = scores.sort(descending=True)
    # Subtract the maximum first, so that a small temperature cannot overflow.
    probabilities = torch.softmax((scores - scores.max()) / wanted.temperature, dim=-1)
    if ids is not None:
        # Both filters keep a prefix of the sorted row, at least its first token.
        before = probabilities.cumsum(-1) - probabilities
        keep = (before < wanted.top_p) & (probabilities >= wanted.min_p * probabilities[0])
        keep[0] = True
        probabilities = probabilities[: int(keep.sum())]
    sums = probabilities.cumsum(-1)
    point = torch.rand((), generator=generator).to(sums.device) * sums[-1]
    # Not torch.multinomial: the last bits of a row's numbers depend on the batch size, and with
    # cumulative sums the same seed still gives the same token.
    drawn = min(int(torch.searchsorted(sums, point, right=True)), sums.shape[-1] - 1)
    return drawn if ids is None else int(ids[drawn])


def _new_row(logits: Tensor, sequence: Sequence) -> _Row:
    wanted = sequence.sampling
    seed = secrets.randbits(63) if wanted.seed is None else wanted.seed + sequence.choice
    # Always on the CPU, so that a seed gives the same answer on every device.
    generator = torch.Generator().manual_seed(seed)
    if not wanted.has_penalties:
        return _Row(generator)
    counts = torch.zeros_like(logits)
    seen = torch.zeros_like(logits, dtype=torch.bool)
    seen[torch.tensor(sequence.prompt, device=logits.device)] = True
    return _Row(generator, counts, seen)


def _penalised(logits: Tensor, row: _Row, wanted: Sampling) -> Tensor:
    assert row.counts is not None
    assert row.seen is not None
    if wanted.repetition_penalty != 1.0:
        weaker = torch.where(
            logits < 0, logits * wanted.repetition_penalty, logits / wanted.repetition_penalty
        )
        logits = torch.where(row.seen, weaker, logits)
    logits = logits - wanted.frequency_penalty * row.counts
    return logits - wanted.presence_penalty * (row.counts > 0)


def _steered(scores: Tensor, steering: _Steering, *, waits: bool) -> Tensor:
    """Return the scores with the wishes of the request; waits: the answer must not end yet."""
    # A bias of two names for one token is the sum of both.
    scores = scores.index_add(0, steering.biased, steering.biases)
    if steering.refused is not None:
        scores.masked_fill_(steering.refused, -torch.inf)
    if waits and steering.ends is not None:
        scores.masked_fill_(steering.ends, -torch.inf)
    return scores


def _with_logprobs(token: int, logits: Tensor, top: int) -> Pick:
    """Return the pick with the model's log probabilities, before penalties and temperature."""
    # Clamped, because JSON has no infinity, the log probability of an impossible token.
    logprobs = torch.log_softmax(logits, dim=-1).clamp(min=LEAST_LOGPROB)
    if not top:
        return Pick(token, float(logprobs[token]))
    best = logprobs.topk(min(top, logprobs.shape[-1]))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return Pick(token, float(logprobs[token]), tuple(pairs))
