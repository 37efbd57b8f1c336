"""The rest that a worker takes when its engine has failed too often in a row.

It takes nothing, begins the engine anew, asks it whether it is well, and comes back after a
while, which doubles with every rest that no success has followed: the jobs are meant to go to
workers that do better.  Where there is nobody else, a long rest would only keep them waiting for
the errors that their clients have to be told.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from inference_worker.engines.engine import Engine, State

#: The first rest and the longest one, in seconds.  It doubles in between.
FIRST_REST_S = 0.5
LONGEST_REST_S = 15.0

#: How many times an engine that is slow to tell how it is, is asked.
HEALTH_TRIES = 30

log = logging.getLogger(__name__)


async def nobody_knows() -> int | None:
    """Return None: how many other workers there are cannot be told."""
    return None


class Rest:
    """Whether the worker rests, and for how long.

    changed: called when a rest begins and when it ends.
    others: how many other workers take jobs now; None when that cannot be told.
    """

    def __init__(
        self,
        engine: Engine,
        changed: Callable[[], None],
        others: Callable[[], Awaitable[int | None]] = nobody_knows,
    ) -> None:
        self._engine = engine
        self._changed = changed
        self._others = others
        self._next_s = FIRST_REST_S
        self._is_new = False
        self._duty: asyncio.Task[None] | None = None

    @property
    def is_on(self) -> bool:
        """True from the beginning of a rest to its end."""
        return self._duty is not None

    def succeeded(self) -> None:
        """A job has succeeded: the next rest is a short one."""
        self._next_s = FIRST_REST_S
        self._is_new = False

    def begin(self) -> None:
        """Rest; nothing happens when a rest is on already."""
        if self._duty is None:
            self._duty = asyncio.create_task(self._rest(), name="rest")
            self._changed()

    async def stop(self) -> None:
        """Give up a rest: the worker leaves."""
        if self._duty is not None:
            self._duty.cancel()
            await asyncio.gather(self._duty, return_exceptions=True)

    async def _rest(self) -> None:
        # An engine that was begun anew and has done nothing since is as new as it gets; to load
        # it again pays only for the sake of the others, who have the jobs meanwhile.
        is_alone = await self._others() == 0
        wait_s = FIRST_REST_S
        if not (is_alone and self._is_new):
            wait_s = await self._begin_anew()
        await asyncio.sleep(wait_s)
        while not await self._is_well():
            wait_s = await self._begin_anew()
            await asyncio.sleep(wait_s)
        self._duty = None
        log.info("The engine is well again after a rest of %g s.", wait_s)
        self._changed()

    async def _begin_anew(self) -> float:
        """Begin the engine anew; return how long to wait after it, in seconds."""
        wait_s = self._next_s
        self._next_s = min(2 * self._next_s, LONGEST_REST_S)
        await self._engine.restart("the engine was replaced, because it had failed in a row")
        self._is_new = True
        return wait_s

    async def _is_well(self) -> bool:
        for _ in range(HEALTH_TRIES):
            health = await self._engine.health()
            if health.state is State.OK:
                return True
            log.warning("The engine is not well yet: %s", health.reason or health.state)
            if health.state is State.DEAD:
                return False
        return False
