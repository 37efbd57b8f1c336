"""An engine in a process of its own, seen from the supervisor as one more engine.

A long call into C, a held GIL, a crash or the OOM killer ends or stalls that process and not
this one, which keeps the connection and its lease.  When the process ends, the jobs that it ran
have failed with a code, the capacity is 0, and a new process is spawned, after a wait that doubles.

    spawned ── Ready ──> running ── exit ──> waiting ──> spawned ...
       └── Broken, exit: EngineFailed at the first start, one more wait later on

What a single process goes through is in child.py.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Mapping

from client_sdk.respawn import Respawn
from client_sdk.wire.codes import SHUTDOWN
from inference_worker import pipe
from inference_worker.child import Child
from inference_worker.engines.engine import (
    Context,
    Engine,
    Event,
    Failed,
    Finished,
    Health,
    Job,
    State,
)
from inference_worker.engines.load import EngineSpec
from inference_worker.errors import EngineFailed
from inference_worker.logs import LogSettings
from inference_worker.vitals import Vitals

#: When an engine that has ended is started again.
RESPAWN = Respawn(first_s=0.1, longest_s=30.0)

#: How long the engine may take to say how it is, in seconds.
HEALTH_TIMEOUT_S = 1.0

#: How long the process may give no sign of life, in seconds.
DEFAULT_SILENCE_S = 120.0

log = logging.getLogger(__name__)


class EngineProcess(Engine):
    """Spawns the process that runs the engine of this spec, and keeps one there.

    silence_s: one that gives no sign of life for so long is replaced; 0 is never.
    """

    def __init__(
        self, spec: EngineSpec, *, logs: LogSettings, silence_s: float = DEFAULT_SILENCE_S
    ) -> None:
        # What it takes is the engine's to say; until then nothing is offered.
        super().__init__(spec.name, capacity=1)
        self.capacity = 0
        self._spec = spec
        self._logs = logs
        self._silence_s = silence_s
        self._ready = asyncio.Event()
        self._child: Child | None = None
        self._duty: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int | None:
        """The engine's process, while there is one."""
        return self._child.pid if self._child else None

    async def start(self, context: Context) -> None:
        """Spawn the process and wait until the engine is loaded."""
        child = await self._spawn(context)
        self._duty = asyncio.create_task(self._keep(child, context), name="engine process")

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Run the job over there; when that process dies the job has failed, retryably."""
        child = self._child
        if child is None or not self.capacity:
            # The engine never saw it, so it is not counted against the job.
            yield Failed(SHUTDOWN, "the engine is being restarted")
            return
        number = next(self._numbers)
        events: asyncio.Queue[Event] = asyncio.Queue()
        child.listeners[number] = events.put_nowait
        child.send(pipe.Run(number, job))
        try:
            while True:
                event = await events.get()
                if isinstance(event, Finished | Failed):
                    child.listeners.pop(number, None)
                yield event
                if isinstance(event, Finished | Failed):
                    return
        finally:
            if child.listeners.pop(number, None) is not None:
                child.cancel(number)

    async def health(self) -> Health:
        """Ask the engine; one that does not answer in time is degraded, not dead."""
        if self._child is None or not self._ready.is_set():
            return Health(State.DEAD, "the engine is loading")
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                return await self._child.health()
        except TimeoutError:
            return Health(State.DEGRADED, f"no answer within {HEALTH_TIMEOUT_S:g} s")

    async def restart(self, reason: str) -> None:
        """Replace the process, and wait until the new one is ready."""
        if self._child is not None and self._ready.is_set():
            self._ready.clear()
            self._child.replace(reason)
        await self._ready.wait()

    def gauges(self) -> Mapping[str, float]:
        """Give what the engine over there told last."""
        return self._child.beat.gauges if self._child else {}

    def vitals(self) -> Vitals:
        """Give what the process over there took when it told last."""
        return self._child.beat.vitals if self._child else Vitals()

    async def stop(self, grace_s: float) -> None:
        """Ask the engine to stop; kill its process when it still lives after the grace."""
        self.capacity = 0
        if self._duty is not None:
            self._duty.cancel()
            await asyncio.gather(self._duty, return_exceptions=True)
        if self._child is not None:
            await self._child.stop(grace_s)
            self._child = None

    def _offer(self, capacity: int) -> None:
        """Take as many as the engine over there does now, 0 of them while it is away."""
        self.capacity = capacity
        self.changed()

    async def _spawn(self, context: Context) -> "Child":
        """Make `self._child` one that is ready; raise EngineFailed when it does not get there."""
        child = self._child = await Child.spawn(self._spec, self._logs, offer=self._offer)
        try:
            self.capacity = await child.load(context.progress)
            self._ready.set()
        except BaseException:
            self._child = None
            await child.stop(0.0)
            raise
        return child

    async def _keep(self, child: "Child", context: Context) -> None:
        """Serve this child and its successors."""
        loop = asyncio.get_running_loop()
        ends = 0
        while True:
            born_at = loop.time()
            failed = await child.serve(silence_s=self._silence_s)
            # Capacity first: whoever is told of the failed jobs must not offer the place again.
            self.capacity, self._child = 0, None
            self._ready.clear()
            self.changed()
            child.fail_listeners(failed)
            log.error("The engine is started again: %s.", failed.message)
            ends = RESPAWN.ends_in_row(ends, lived_s=loop.time() - born_at)
            while self._child is None:
                await asyncio.sleep(RESPAWN.pause_s(ends))
                try:
                    child = await self._spawn(context)
                except (EngineFailed, OSError) as error:
                    # An OSError is the machine's: it has no memory or no process to give now.
                    ends += 1
                    log.error("%s; trying again in %.1f s.", error, RESPAWN.pause_s(ends))
            self.changed()
