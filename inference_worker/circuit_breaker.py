"""A circuit breaker: a worker whose engine fails too many jobs in a row stops accepting jobs.

While it is open, the worker accepts nothing, restarts the engine, and asks whether it is healthy.
It closes after a pause, which doubles each time until a job succeeds, so that the jobs go to other
workers meanwhile.  Without another worker, long pauses would only delay the errors that the clients
have to get, so then the pause stays short.

Metrics, logs and documents call the open time a rest.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from inference_worker.engines.engine import Engine, EngineState

#: The first pause and the longest one, in seconds; it doubles in between.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0

#: How often a degraded engine is asked for its health before it is restarted.
HEALTH_TRIES = 30

log = logging.getLogger(__name__)


async def unknown_count() -> int | None:
    """Return None: the number of other workers is unknown."""
    return None


class CircuitBreaker:
    """Whether the worker accepts jobs, and how long it pauses.

    changed: called when it opens and when it closes.
    count_peers: how many other workers accept jobs now; None if that is unknown.
    """

    def __init__(
        self,
        engine: Engine,
        changed: Callable[[], None],
        count_peers: Callable[[], Awaitable[int | None]] = unknown_count,
    ) -> None:
        self._engine = engine
        self._changed = changed
        self._count_peers = count_peers
        self._next_s = FIRST_PAUSE_S
        self._is_fresh = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """True while the worker accepts no jobs."""
        return self._task is not None

    def record_success(self) -> None:
        """Record that a job has succeeded: the next pause is short."""
        self._next_s = FIRST_PAUSE_S
        self._is_fresh = False

    def open(self) -> None:
        """Stop accepting jobs; does nothing if it is already open."""
        if self._task is None:
            self._task = asyncio.create_task(self._recover(), name="circuit breaker")
            self._changed()

    async def stop(self) -> None:
        """End the recovery, because the worker shuts down."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _recover(self) -> None:
        # An engine that was just restarted gains nothing from another restart.  With other workers
        # it is restarted all the same, because they run the jobs meanwhile.
        is_alone = await self._count_peers() == 0
        pause_s = FIRST_PAUSE_S
        if not (is_alone and self._is_fresh):
            pause_s = await self._restart()
        await asyncio.sleep(pause_s)
        while not await self._is_healthy():
            pause_s = await self._restart()
            await asyncio.sleep(pause_s)
        self._task = None
        log.info("The engine is healthy again after a rest of %g s.", pause_s)
        self._changed()

    async def _restart(self) -> float:
        """Restart the engine; return the length of the pause after it, in seconds."""
        pause_s = self._next_s
        self._next_s = min(2 * self._next_s, LONGEST_PAUSE_S)
        await self._engine.restart("the engine was replaced, because it had failed in a row")
        self._is_fresh = True
        return pause_s

    async def _is_healthy(self) -> bool:
        for _ in range(HEALTH_TRIES):
            health = await self._engine.health()
            if health.state is EngineState.OK:
                return True
            log.warning("The engine is not healthy yet: %s", health.reason or health.state)
            if health.state is EngineState.DEAD:
                return False
        return False
