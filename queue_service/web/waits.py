"""Who waits for something, the longest first: one time limit for all, and no timer for each."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter", bound=Hashable)


class Waits(Generic[Waiter]):
    """Those that wait, in the order in which they began.

    limit_s: how long each may wait; 0 is without limit.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._since: dict[Waiter, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def begin(self, waiter: Waiter, now: float) -> None:
        """Wait from now on; one that waits already goes on as it is."""
        self._since.setdefault(waiter, now)

    def end(self, waiter: Waiter) -> None:
        """Wait no more; nothing happens when it does not."""
        self._since.pop(waiter, None)

    def take_overdue(self, now: float) -> Iterator[Waiter]:
        """Give those that have waited for too long, and forget them."""
        while self.limit_s and self._since:
            waiter, since = next(iter(self._since.items()))
            if now - since < self.limit_s:
                return
            del self._since[waiter]
            yield waiter
