"""Which held deliveries may start now.  Pure: no clock, no engine.

A delivery starts at once, with one exception: if an engine has died while it ran this job before,
the job runs alone, so that a second crash affects no other job.  Deliveries that arrive while it
waits or runs wait behind it.
"""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class StartQueue(Generic[T]):
    """The order in which held deliveries start."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[T, bool]] = deque()
        self._started = 0
        self._alone = False

    @property
    def is_exclusive(self) -> bool:
        """True while a job runs alone or waits to: the worker should receive no more deliveries."""
        return self._alone or bool(self._waiting)

    @property
    def waiting(self) -> int:
        """The number of deliveries that have not started."""
        return len(self._waiting)

    @property
    def started(self) -> int:
        """The number of deliveries that have started and not ended."""
        return self._started

    def add(self, one: T, *, alone: bool) -> None:
        """Add a delivery at the end."""
        self._waiting.append((one, alone))

    def start_next(self) -> list[T]:
        """Remove and return the deliveries that may start now."""
        starting: list[T] = []
        while self._waiting and not self._alone:
            one, alone = self._waiting[0]
            if alone and self._started:
                break
            self._waiting.popleft()
            self._started += 1
            self._alone = alone
            starting.append(one)
        return starting

    def remove(self, one: T) -> None:
        """Remove a delivery that has ended, or that still waits."""
        for place, (other, _) in enumerate(self._waiting):
            if other is one:
                del self._waiting[place]
                return
        self._started -= 1
        self._alone = False
