"""The generation thread: schedule, run and postprocess a step, in a loop.

Only this thread uses the scheduler, the runner and the sequences in them, so they need no locks.
Other threads queue orders (start these, cancel those), which it executes between two steps.  All
updates of a step are delivered in one call.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from client_sdk.wire.codes import SHUTDOWN
from inference_worker.engines.engine import DEVICE_LOST, Failed
from inference_worker.engines.failures import failure_of
from inference_worker.engines.transformers.scheduler import Limits, Scheduler, Step
from inference_worker.engines.transformers.sequence import Pick, Sampling, Sequence

#: After this many failed steps in a row the engine counts as dead: the jobs are not the cause.
MOST_FAILED_STEPS = 3

log = logging.getLogger(__name__)


class Runner(Protocol):
    """Runs steps: our own implementation, or transformers' continuous batching."""

    name: str
    padded: bool
    bytes_per_token: int

    def run(self, step: Step) -> list[tuple[Sequence, Pick | Failed]]:
        """Run one step; return the outcomes that are ready."""

    def refuses(self, sampling: Sampling) -> str | None:
        """Return a parameter that is not supported; None if all are."""

    def reset(self) -> None:
        """Forget all sequences, after a step that raised."""

    def close(self) -> None:
        """Free all resources."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a step did for one sequence: its start, a piece of text, or its end."""

    sequence: Sequence
    piece: str = ""
    tokens: int = 0
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """The current load of the loop."""

    generating: int = 0
    waiting: int = 0
    reserved_tokens: int = 0
    steps: int = 0
    tokens: int = 0


class GenerationLoop:
    """Runs steps while there are sequences.

    deliver: called in the loop's thread after each step, with all its updates.
    """

    def __init__(
        self, runner: Runner, limits: Limits, *, deliver: Callable[[list[Update]], None]
    ) -> None:
        self.load = Load()
        self.is_dead = False
        self._runner = runner
        self._scheduler = Scheduler(limits)
        self._deliver = deliver
        self._orders: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._is_over = False
        self._failed_steps = 0
        self._giving_up = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def begin(self, sequences: Iterable[Sequence]) -> None:
        """Add sequences to the waiting queue; from any thread."""
        wanted = list(sequences)
        self._order(lambda: self._scheduler.add(wanted))
        if self._is_over:
            self._give_up()

    def cancel(self, sequences: Iterable[Sequence]) -> None:
        """Remove sequences before the next step, without further updates; from any thread."""
        unwanted = list(sequences)

        def cancel() -> None:
            for sequence in unwanted:
                sequence.cancel()

        self._order(cancel)

    def stop(self, timeout_s: float) -> None:
        """End after the current step; wait for it up to `timeout_s`."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def step(self) -> None:
        """Execute the orders, and run one step."""
        while self._orders:
            self._orders.popleft()()
        step = self._scheduler.schedule()
        if step.is_empty:
            return
        try:
            outcomes = self._runner.run(step)
        except Exception as error:
            self._failed(error)
            return
        self._failed_steps = 0
        self.is_dead = False
        self._deliver(self._postprocess(step, outcomes))

    def _postprocess(
        self, step: Step, outcomes: list[tuple[Sequence, Pick | Failed]]
    ) -> list[Update]:
        updates = [Update(sequence) for sequence in step.joins]
        for sequence, outcome in outcomes:
            if sequence.is_finished:
                # The paged runner may be ahead: tokens after the end are dropped.
                continue
            if isinstance(outcome, Failed):
                sequence.fail(outcome)
                updates.append(Update(sequence, is_last=True))
            else:
                updates.append(_add(sequence, outcome))
        self._count(sum(update.tokens for update in updates))
        return updates

    def _failed(self, error: Exception) -> None:
        """Fail all sequences: after a step that raised, the state of the cache is unknown."""
        self._failed_steps += 1
        self.is_dead = self._failed_steps >= MOST_FAILED_STEPS
        self._drop_all(failure_of(error))
        self._runner.reset()

    def _drop_all(self, failed: Failed) -> None:
        dropped = self._scheduler.drop_all()
        for sequence in dropped:
            sequence.fail(failed)
        self._count(0)
        self._deliver([Update(sequence, is_last=True) for sequence in dropped])

    def _count(self, tokens: int) -> None:
        scheduler = self._scheduler
        self.load = Load(
            generating=len(scheduler.running),
            waiting=scheduler.waiting,
            reserved_tokens=scheduler.reserved_tokens,
            steps=self.load.steps + 1,
            tokens=self.load.tokens + tokens,
        )

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._wake.set()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wake.clear()
                self.step()
                if self._scheduler.is_idle:
                    self._wake.wait()
        except Exception:
            log.exception("The generation has ended:")
        finally:
            # For every kind of end: no more steps are run.
            self.is_dead = self._is_over = True
            self._give_up()
            self._runner.close()

    def _give_up(self) -> None:
        """Fail all sequences, including those that still arrive."""
        # Both this thread and callers of `begin` get here; the lock keeps them from using the
        # scheduler at the same time.
        with self._giving_up:
            while self._orders:
                self._orders.popleft()()
            if self._stopping:
                self._drop_all(Failed(SHUTDOWN, "the engine is being stopped"))
            else:
                # This process cannot generate any more; DEVICE_LOST makes the supervisor replace
                # it.
                self._drop_all(Failed(DEVICE_LOST, "the generation has ended"))


def _add(sequence: Sequence, pick: Pick) -> Update:
    try:
        piece = sequence.add(pick)
    except Exception as error:
        # If the tokenizer cannot decode a token, only this answer fails.
        log.warning("A token could not be turned into text:", exc_info=error)
        sequence.fail(Failed(type(error).__name__, f"token {pick.token} has no text: {error}"))
        return Update(sequence, is_last=True)
    return Update(sequence, piece, 1, sequence.is_finished)
