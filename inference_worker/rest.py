"""The rest that a worker takes when its engine has failed too often in a row.

It takes nothing, begins the engine anew, asks it whether it is well, and comes back after a
while, which doubles with every rest that no success has followed.
"""

import asyncio
import logging
from collections.abc import Callable

from inference_worker.engines.engine import Engine, State

#: The first rest and the longest one, in seconds.  It doubles in between.
FIRST_REST_S = 0.5
LONGEST_REST_S = 15.0

#: How many times an engine that is slow to tell how it is, is asked.
HEALTH_TRIES = 30

log = logging.getLogger(__name__)


class Rest:
    """Whether the worker rests, and for how long.

    changed: called when a rest begins and when it ends.
    """

    def __init__(self, engine: Engine, changed: Callable[[], None]) -> None:
        self._engine = engine
        self._changed = changed
        self._next_s = FIRST_REST_S
        self._duty: asyncio.Task[None] | None = None

    @property
    def is_on(self) -> bool:
        """True from the beginning of a rest to its end."""
        return self._duty is not None

    def succeeded(self) -> None:
        """A job has succeeded: the next rest is a short one."""
        self._next_s = FIRST_REST_S

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
        while True:
            wait_s = self._next_s
            self._next_s = min(2 * self._next_s, LONGEST_REST_S)
            await self._engine.restart("the engine was replaced, because it had failed in a row")
            await asyncio.sleep(wait_s)
            if await self._is_well():
                break
        self._duty = None
        log.info("The engine is well again after a rest of %g s.", wait_s)
        self._changed()

    async def _is_well(self) -> bool:
        for _ in range(HEALTH_TRIES):
            health = await self._engine.health()
            if health.state is State.OK:
                return True
            log.warning("The engine is not well yet: %s", health.reason or health.state)
            if health.state is State.DEAD:
                return False
        return False
