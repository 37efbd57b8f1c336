"""An engine in a separate process; the supervisor uses it like any other engine.

A long call into C, a held GIL, a crash or the OOM killer stalls or ends only that process.  The
supervisor keeps the connection and its lease.  When the process ends, its jobs fail with a code,
the capacity becomes 0, and a new process is spawned after a pause that doubles.

    spawned ── Ready ──> running ── exit ──> waiting ──> spawned ...
       └── Broken, exit: EngineFailed at the first start, one more pause later on

child.py handles a single process.
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
    EngineState,
    Event,
    Failed,
    Finished,
    Health,
    Job,
)
from inference_worker.engines.load import EngineSpec
from inference_worker.errors import EngineFailed
from inference_worker.logs import LogSettings
from inference_worker.resource_usage import ResourceUsage

#: The pauses before an ended engine is restarted.
RESPAWN = Respawn(first_s=0.1, longest_s=30.0)

#: How long the engine's health check may take, in seconds.
HEALTH_TIMEOUT_S = 1.0

#: How long the process may be without a heartbeat, in seconds.
DEFAULT_SILENCE_S = 120.0

log = logging.getLogger(__name__)


class EngineProcess(Engine):
    """Runs an engine in a process, and restarts it when it ends.

    silence_s: after this time without a heartbeat the process is replaced; 0 means never.
    """

    #: Its process reads them.
    takes_files = True
    takes_forms = True

    def __init__(
        self, spec: EngineSpec, *, logs: LogSettings, silence_s: float = DEFAULT_SILENCE_S
    ) -> None:
        # The capacity stays 0 until the process reports it.
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
        """The id of the engine's process; None if there is none."""
        return self._child.pid if self._child else None

    async def start(self, context: Context) -> None:
        """Spawn the process and wait until the engine is loaded."""
        child = await self._spawn(context)
        self._duty = asyncio.create_task(self._keep(child, context), name="engine process")

    def takes_path(self, job: Job) -> bool:
        """Leave it to the process, so that no payload goes through the pipe."""
        return True

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Run the job in the process; if that dies, the job fails and may be retried."""
        child = self._child
        if child is None or not self.capacity:
            # The job never started, so it does not use up an attempt.
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
        """Ask the engine for its health; one that does not reply in time is degraded, not dead."""
        if self._child is None or not self._ready.is_set():
            return Health(EngineState.DEAD, "the engine is loading")
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                return await self._child.health()
        except TimeoutError:
            return Health(EngineState.DEGRADED, f"no answer within {HEALTH_TIMEOUT_S:g} s")

    async def restart(self, reason: str) -> None:
        """Replace the process, and wait until the new one is ready."""
        if self._child is not None and self._ready.is_set():
            self._ready.clear()
            self._child.replace(reason)
        await self._ready.wait()

    def gauges(self) -> Mapping[str, float]:
        """Return the engine's numbers from the last heartbeat."""
        return self._child.last_heartbeat.gauges if self._child else {}

    def resource_usage(self) -> ResourceUsage:
        """Return the resource use of the process from the last heartbeat."""
        return self._child.last_heartbeat.usage if self._child else ResourceUsage()

    async def stop(self, grace_s: float) -> None:
        """Ask the engine to stop; kill its process if it is still alive after the grace period."""
        self.capacity = 0
        if self._duty is not None:
            self._duty.cancel()
            await asyncio.gather(self._duty, return_exceptions=True)
        if self._child is not None:
            await self._child.stop(grace_s)
            self._child = None

    def _set_capacity(self, capacity: int) -> None:
        """Adopt the capacity that the process reports."""
        self.capacity = capacity
        self.changed()

    async def _spawn(self, context: Context) -> "Child":
        """Start a process as `self._child` and wait until it is ready; raises EngineFailed."""
        child = self._child = await Child.spawn(
            self._spec, self._logs, set_capacity=self._set_capacity
        )
        try:
            ready = await child.load(context.progress)
            self.capacity, self.interface = ready.capacity, ready.interface
            self._ready.set()
        except BaseException:
            self._child = None
            await child.stop(0.0)
            raise
        return child

    async def _keep(self, child: "Child", context: Context) -> None:
        """Serve this process and its successors."""
        loop = asyncio.get_running_loop()
        ends = 0
        while True:
            born_at = loop.time()
            failed = await child.serve(silence_s=self._silence_s)
            # Capacity first: when the jobs fail below, the worker must not fill their slots.
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
                    # An OSError comes from the machine: no memory, or no process id, is available.
                    ends += 1
                    log.error("%s; trying again in %.1f s.", error, RESPAWN.pause_s(ends))
            self.changed()
