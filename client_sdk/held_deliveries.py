"""The deliveries that a worker holds, and its answers until they are confirmed.  No I/O.

A delivery is `working` from its arrival to its answer, then `answered` until the service has
reported the outcome of that answer, and then forgotten:

    add ───> working ── answer ──> answered ── settle ──> (forgotten)
                ├── settle, too big ───┤                     │
                └────────── lose ──────┴─────────────────────┘
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from client_sdk.wire.codes import Code
from client_sdk.wire.worker import (
    Completion,
    Completions,
    Delivery,
    Held,
    Outcome,
    Rejection,
    Rejections,
    encode_from_worker,
)

#: Answers are combined into messages of about this size, in bytes.
BATCH_BYTES = 256 * 1024

# (index, attempt): a plain tuple is hashed several times faster than a dataclass.
_Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """An unconfirmed completion or rejection.

    message: the encoded FromWorker message, so that sending it again needs no encoding.
    outcome: the future that the caller awaits.
    """

    key: _Key
    message: bytes
    is_completion: bool
    outcome: asyncio.Future[Outcome]


class HeldDeliveries:
    """All deliveries of one worker, and the answers to them."""

    def __init__(self) -> None:
        self._working: set[_Key] = set()
        self._answered: dict[_Key, Answer] = {}
        self._unsent: list[Answer] = []
        self._batch_bytes = BATCH_BYTES

    @property
    def working(self) -> int:
        """The number of deliveries without an answer."""
        return len(self._working)

    @property
    def answered(self) -> int:
        """The number of unconfirmed answers."""
        return len(self._answered)

    @property
    def unsent(self) -> bool:
        """True if an answer waits to be sent."""
        return bool(self._unsent)

    def held(self) -> tuple[Held, ...]:
        """Return every delivery that still belongs to this worker."""
        return tuple(Held(*key) for key in sorted((*self._working, *self._answered)))

    def add(self, delivery: Delivery) -> None:
        """Add a delivery that has arrived."""
        self._working.add((delivery.index, delivery.attempt))

    def answer(self, answer: Completion | Rejection) -> asyncio.Future[Outcome]:
        """Queue an answer and return the future of its outcome.

        For a delivery that is not held, because it was lost or already answered, the outcome is
        set at once and nothing is sent.  Raises what the encoder raises for a malformed answer;
        the delivery is then still without an answer.
        """
        key = (answer.index, answer.attempt)
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if key not in self._working:
            outcome.set_result(_refused(key, Code.LEASE_LOST))
            return outcome
        is_completion = isinstance(answer, Completion)
        message = encode_from_worker(
            Completions((answer,)) if isinstance(answer, Completion) else Rejections((answer,))
        )
        self._working.remove(key)
        noted = Answer(key, message, is_completion, outcome)
        self._answered[key] = noted
        self._unsent.append(noted)
        return outcome

    def settle(self, outcome: Outcome) -> None:
        """Pass an outcome to the caller that waits for it."""
        answer = self._answered.pop((outcome.index, outcome.attempt), None)
        if answer is not None and outcome.code == Code.FRAME_TOO_BIG:
            # The service applied nothing: the worker still holds the delivery, and may send a
            # smaller answer.
            self._working.add(answer.key)
        # An answer that was sent again after a reconnect can have two outcomes: the first counts.
        # The caller may also have stopped waiting, which cancels its future.
        if answer is not None and not answer.outcome.done():
            answer.outcome.set_result(outcome)

    def lose(self, lost: Iterable[Held]) -> tuple[Held, ...]:
        """Forget deliveries that the service took away; return those without an answer.

        An unconfirmed answer to a lost delivery gets its outcome here: the service would refuse it.
        """
        stopped = []
        for held in lost:
            key = (held.index, held.attempt)
            self.settle(_refused(key, Code.LEASE_LOST))
            if key in self._working:
                self._working.remove(key)
                stopped.append(held)
        return tuple(stopped)

    def send_again(self) -> None:
        """Mark every unconfirmed answer as unsent: the connection that carried it has ended.

        The service may have applied it all the same.  The fencing token (index, attempt) makes the
        repetition harmless: it is refused with LEASE_LOST.
        """
        self._unsent = list(self._answered.values())

    def batches(self) -> Iterator[bytes]:
        """Yield the unsent answers, combined into as few messages as their size allows."""
        unsent, self._unsent = self._unsent, []
        for is_completion in (True, False):
            yield from self._joined(
                answer.message for answer in unsent if answer.is_completion is is_completion
            )

    def shrink(self) -> None:
        """After a message was too big for the service, send answers one at a time.

        If they already were, the largest answer is the one that does not fit.  It is given up, or
        it would block all others for ever.
        """
        if self._batch_bytes:
            self._batch_bytes = 0
        elif self._answered:
            largest = max(self._answered.values(), key=lambda answer: len(answer.message))
            self.settle(_refused(largest.key, Code.FRAME_TOO_BIG))
            self._batch_bytes = BATCH_BYTES

    def fail(self, error: Exception) -> None:
        """Raise this error for every caller that waits for an outcome."""
        for answer in self._answered.values():
            if not answer.outcome.done():
                answer.outcome.set_exception(error)
        self._answered.clear()
        self._unsent.clear()
        self._working.clear()

    def _joined(self, messages: Iterable[bytes]) -> Iterator[bytes]:
        # Protobuf merges repeated fields of concatenated encodings into one message.  So each
        # answer is encoded once, when it is given, a malformed one fails only for its caller, and
        # a batch is a plain join.
        batch: list[bytes] = []
        size = 0
        for message in messages:
            if batch and size + len(message) > self._batch_bytes:
                yield b"".join(batch)
                batch, size = [], 0
            batch.append(message)
            size += len(message)
        if batch:
            yield b"".join(batch)


def _refused(key: _Key, code: str) -> Outcome:
    return Outcome(index=key[0], attempt=key[1], accepted=False, code=code)
