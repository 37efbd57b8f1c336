"""Keeps slots of the engine empty for a while after its server reported an overload.

The rejected job waits in the store.  Without a cool-down the next job would take its slot at once
and meet the same overload.
"""

import asyncio
import itertools
from collections.abc import Callable


class SlotCooldown:
    """The slots that are kept empty now.

    changed: called when a slot may be used again.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._numbers = itertools.count()

    @property
    def count(self) -> int:
        """The number of slots that are kept empty."""
        return len(self._timers)

    def start(self, seconds: float) -> None:
        """Keep one more slot empty for this long."""
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        self._timers[number] = loop.call_later(seconds, self._over, number)

    def stop(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _over(self, number: int) -> None:
        del self._timers[number]
        self._changed()
