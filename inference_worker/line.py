"""Who of the held deliveries may begin now.  Pure: no clock, no engine.

Everybody begins at once, but for one under which an engine has died before: it runs alone, so
that nobody shares its fate a second time.  Whoever comes while it waits or runs waits behind it.
"""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """The order in which held deliveries begin."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[T, bool]] = deque()
        self._inside = 0
        self._alone = False

    @property
    def is_shut(self) -> bool:
        """True while one is or will be alone: nothing more should be taken meanwhile."""
        return self._alone or bool(self._waiting)

    @property
    def waiting(self) -> int:
        """How many have not begun."""
        return len(self._waiting)

    @property
    def inside(self) -> int:
        """How many have begun and not ended."""
        return self._inside

    def join(self, one: T, *, alone: bool) -> None:
        """Put one at the end."""
        self._waiting.append((one, alone))

    def enter(self) -> list[T]:
        """Take out those that begin now."""
        begun: list[T] = []
        while self._waiting and not self._alone:
            one, alone = self._waiting[0]
            if alone and self._inside:
                break
            self._waiting.popleft()
            self._inside += 1
            self._alone = alone
            begun.append(one)
        return begun

    def leave(self, one: T) -> None:
        """Let one go, whether it has begun or still waits."""
        for place, (other, _) in enumerate(self._waiting):
            if other is one:
                del self._waiting[place]
                return
        self._inside -= 1
        self._alone = False
