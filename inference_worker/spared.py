"""Places that are left empty for a while, because what computes has too much to do.

The job that met this has been given back and waits in the store; without this its place would be
taken at once by the next job, which would only meet the same.
"""

import asyncio
import itertools
from collections.abc import Callable


class Spared:
    """How many places are left empty.

    changed: called when a place may be taken again.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._numbers = itertools.count()

    @property
    def count(self) -> int:
        """How many places are empty now."""
        return len(self._timers)

    def leave_empty(self, seconds: float) -> None:
        """Leave one more place empty for so long."""
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        self._timers[number] = loop.call_later(seconds, self._over, number)

    def stop(self) -> None:
        """Wait for nothing any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _over(self, number: int) -> None:
        del self._timers[number]
        self._changed()
