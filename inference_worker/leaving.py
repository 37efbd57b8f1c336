"""How a worker leaves: when it has finished, within the grace period of a signal, or at once."""

import asyncio


class Leaving:
    """How a worker stops; every further request can only make it more urgent.

    begun: it accepts nothing new.  at_once: it finishes nothing.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.at_once = asyncio.Event()
        self._is_limited = asyncio.Event()

    def when_done(self) -> None:
        """Leave as soon as every held job has ended, however long that takes."""
        self.begun.set()

    def within_grace(self) -> None:
        """Leave when every held job has ended, or at the end of the grace period."""
        self.begun.set()
        self._is_limited.set()

    def now(self) -> None:
        """Leave without finishing anything."""
        self.within_grace()
        self.at_once.set()

    @property
    def has_begun(self) -> bool:
        """Whether it accepts nothing new."""
        return self.begun.is_set()

    @property
    def is_limited(self) -> bool:
        """Whether held jobs have only the grace period."""
        return self._is_limited.is_set()

    async def wait(
        self, idle: asyncio.Event, serving: "asyncio.Task[None]", *, grace_s: float
    ) -> None:
        """Return when the worker may stop: idle, at the end of its grace, or at once.

        serving: if the connection ends for good, no one would receive the results.
        """
        ends = [asyncio.create_task(event.wait()) for event in (idle, self.at_once)]
        limited = asyncio.create_task(self._is_limited.wait())
        try:
            # The grace period begins with the signal, also if that comes later.
            await asyncio.wait({*ends, serving, limited}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(
                {*ends, serving}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (*ends, limited):
                task.cancel()
