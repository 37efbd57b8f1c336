"""What a worker holds, what it has answered, and what of that is confirmed.  No I/O.

A delivery is `working` from its arrival to its answer, then `answered` until the service
has said what became of that answer, and then forgotten:

    take ──> working ── answer ──> answered ── settle ──> (forgotten)
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

#: Answers are put together into messages of about this size, in bytes.
BATCH_BYTES = 256 * 1024

# (index, attempt): a plain tuple is hashed several times faster than a dataclass.
_Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion or rejection on its way.

    message: the answer as a whole FromWorker message, so that sending it again costs nothing.
    outcome: where whoever gave the answer waits.
    """

    key: _Key
    message: bytes
    is_completion: bool
    outcome: asyncio.Future[Outcome]


class Holding:
    """The worker's side of its window."""

    def __init__(self) -> None:
        self._working: set[_Key] = set()
        self._answered: dict[_Key, Answer] = {}
        self._unsent: list[Answer] = []
        self._batch_bytes = BATCH_BYTES

    @property
    def working(self) -> int:
        """How many deliveries are without an answer."""
        return len(self._working)

    @property
    def answered(self) -> int:
        """How many answers are not confirmed yet."""
        return len(self._answered)

    @property
    def unsent(self) -> bool:
        """True when an answer waits to be sent."""
        return bool(self._unsent)

    def held(self) -> tuple[Held, ...]:
        """Return everything that the service should still count as ours."""
        return tuple(Held(*key) for key in sorted((*self._working, *self._answered)))

    def take(self, delivery: Delivery) -> None:
        """Note a delivery that has arrived."""
        self._working.add((delivery.index, delivery.attempt))

    def answer(self, answer: Completion | Rejection) -> asyncio.Future[Outcome]:
        """Note an answer to be sent and return where its outcome will be.

        For a delivery that is not held, because it was lost or was answered before, the
        outcome is there at once and nothing will be sent.  Raises what the encoder raises
        for a malformed answer; the delivery is then still without an answer.
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
        """Hand an outcome to whoever waits for it."""
        answer = self._answered.pop((outcome.index, outcome.attempt), None)
        # An answer that was sent twice over a reconnect can have two outcomes: the first counts.
        # Whoever gave the answer may also have stopped waiting.
        if answer is not None and not answer.outcome.done():
            answer.outcome.set_result(outcome)

    def lose(self, lost: Iterable[Held]) -> tuple[Held, ...]:
        """Forget what the service says is no longer ours; return what was being worked on.

        Answers under way to a lost delivery have their outcome: sending them again would
        only be refused.
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
        """Mark every unconfirmed answer as unsent: the connection that carried it is gone.

        It may have been carried out all the same.  The fencing token makes the second one
        harmless: it is then refused with LEASE_LOST.
        """
        self._unsent = list(self._answered.values())

    def batches(self) -> Iterator[bytes]:
        """Empty the list of unsent answers, as few messages as their size permits."""
        unsent, self._unsent = self._unsent, []
        for is_completion in (True, False):
            yield from self._joined(
                answer.message for answer in unsent if answer.is_completion is is_completion
            )

    def shrink(self) -> None:
        """A message was too big for the service: send answers one by one from now on.

        If that is what was done already, the largest answer is the one that does not fit.  It
        is given up, so that the others are not kept from arriving for ever.
        """
        if self._batch_bytes:
            self._batch_bytes = 0
        elif self._answered:
            largest = max(self._answered.values(), key=lambda answer: len(answer.message))
            self.settle(_refused(largest.key, Code.FRAME_TOO_BIG))
            self._batch_bytes = BATCH_BYTES

    def fail(self, error: Exception) -> None:
        """Tell everybody who waits for an outcome that none will come."""
        for answer in self._answered.values():
            if not answer.outcome.done():
                answer.outcome.set_exception(error)
        self._answered.clear()
        self._unsent.clear()
        self._working.clear()

    def _joined(self, messages: Iterable[bytes]) -> Iterator[bytes]:
        # Protobuf merges a message field that occurs twice: encodings laid end to end are the
        # encoding of one message with all their answers.  So each is encoded where it was
        # given, a malformed one hurts its giver alone, and a batch is a join.
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
