"""Time-outs of many waiters without a timer for each: all have the same limit."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter", bound=Hashable)


class Waits(Generic[Waiter]):
    """The waiters, in the order in which they began.

    limit_s: how long each may wait; 0 for no limit.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._since: dict[Waiter, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def begin(self, waiter: Waiter, now: float) -> None:
        """Wait from now on; an earlier beginning stays."""
        self._since.setdefault(waiter, now)

    def end(self, waiter: Waiter) -> None:
        """Stop waiting; does nothing for one that does not wait."""
        self._since.pop(waiter, None)

    def take_overdue(self, now: float) -> Iterator[Waiter]:
        """Yield those that have waited too long, and forget them."""
        while self.limit_s and self._since:
            waiter, since = next(iter(self._since.items()))
            if now - since < self.limit_s:
                return
            del self._since[waiter]
            yield waiter
