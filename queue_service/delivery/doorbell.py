"""The doorbell: "look again".

A ring carries no data: what is there to be delivered is the store's to say, and two truths
would be one too many.  Redis pub/sub may lose a ring, so the bell also rings whenever its
connection is made anew and on a slow tick: a lost ring costs a tick, never a hang.
"""

import asyncio
from collections.abc import Sequence


class Doorbell:
    """One queue's bell in one process; any number of listeners."""

    def __init__(self) -> None:
        #: How often it rang; a listener waits for this to pass what it has seen.
        self.rings = 0
        #: True when the store may know of more room than the copies of windows here.
        self.windows_changed = False
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self, *, windows_changed: bool = False) -> None:
        """Wake every listener."""
        self.rings += 1
        self.windows_changed |= windows_changed
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, seen: int, *, timeout_s: float | None = None) -> int:
        """Return the number of rings as soon as it is above `seen`, or at the timeout."""
        if self.rings > seen:
            return self.rings
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            if timeout_s is None:
                await future
            else:
                await asyncio.wait((future,), timeout=timeout_s)
        finally:
            self._waiting.discard(future)
            future.cancel()
        return self.rings

    def join(self, future: "asyncio.Future[None]") -> None:
        """Wake this too at the next ring."""
        self._waiting.add(future)

    def leave(self, future: "asyncio.Future[None]") -> None:
        """Wake it no more."""
        self._waiting.discard(future)


async def wait_for_any(bells: Sequence[Doorbell], seen: Sequence[int], *, timeout_s: float) -> None:
    """Return as soon as one of the bells has rung more often than was seen, or at the timeout."""
    if any(bell.rings > rings for bell, rings in zip(bells, seen, strict=True)):
        return
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for bell in bells:
        bell.join(future)
    try:
        await asyncio.wait((future,), timeout=timeout_s)
    finally:
        for bell in bells:
            bell.leave(future)
        future.cancel()
