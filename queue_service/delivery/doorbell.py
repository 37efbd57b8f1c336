"""The doorbell: "look again".

A ring says that something may have changed, not what: a listener reads that in the store, or in the
object whose bell it is.  So a ring too many is harmless, and several rings cost one look.

Rings of other processes come over Redis pub/sub, which may lose them.  Bells that depend on it
therefore also ring at every tick and after every reconnect (see RingListener), or after the next
look at the leases (see TicketBells): a lost ring costs that time.  All other bells, such as that of
a client's connection, ring within one process and lose nothing.
"""

import asyncio
from collections.abc import Sequence


class Doorbell:
    """A bell for any number of listeners in one process."""

    def __init__(self) -> None:
        #: How often it rang.  A listener waits until this is above the number that it knows.
        self.rings = 0
        #: Whether the windows in the store may be more open than their copies in this process.
        #: Rings add up: the dispatcher resets it before it looks.
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
        """Set this future at the next ring."""
        self._waiting.add(future)

    def leave(self, future: "asyncio.Future[None]") -> None:
        """Do not set this future any more."""
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
