"""An engine in a process of its own, seen from the supervisor as one more engine.

A long call into C, a held GIL, a crash or the OOM killer ends or stalls that process and not
this one, which keeps the connection and its lease.  When the process ends, the jobs that it ran
have failed with a code, the capacity is 0, and a new process is spawned, after a wait that doubles.

    spawned ── Ready ──> running ── exit ──> waiting ──> spawned ...
       └── Broken, exit: EngineFailed at the first start, one more wait later on
"""

import asyncio
import contextlib
import itertools
import logging
import multiprocessing
import os
import socket
from collections.abc import AsyncGenerator, Callable

from client_sdk.wire.codes import SHUTDOWN
from inference_worker import pipe
from inference_worker.engine_main import Birth, main
from inference_worker.engines.engine import (
    ENGINE_DIED,
    Context,
    Engine,
    Event,
    Failed,
    Finished,
    Health,
    Job,
    Progress,
    State,
)
from inference_worker.engines.load import EngineSpec
from inference_worker.errors import EngineFailed
from inference_worker.logs import LogSettings

#: The wait before the first respawn and the longest one, in seconds.  It doubles in between.
FIRST_RESPAWN_WAIT_S = 0.1
LONGEST_RESPAWN_WAIT_S = 30.0

#: An engine that lived this long, in seconds, was a good one: the next wait is the first again.
GOOD_LIFE_S = 30.0

#: How long the engine may take to say how it is, in seconds.
HEALTH_TIMEOUT_S = 1.0

log = logging.getLogger(__name__)


class EngineProcess(Engine):
    """Spawns the process that runs the engine of this spec, and keeps one there."""

    def __init__(self, spec: EngineSpec, *, logs: LogSettings) -> None:
        # What it takes is the engine's to say; until then nothing is offered.
        super().__init__(spec.name, capacity=1)
        self.capacity = 0
        self._spec = spec
        self._logs = logs
        self._child: _Child | None = None
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
                child.send(pipe.Cancel(number))

    async def health(self) -> Health:
        """Ask the engine; one that does not answer in time is degraded, not dead."""
        if self._child is None or not self.capacity:
            return Health(State.DEAD, "the engine is being restarted")
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                return await self._child.health()
        except TimeoutError:
            return Health(State.DEGRADED, f"no answer within {HEALTH_TIMEOUT_S:g} s")

    async def stop(self, grace_s: float) -> None:
        """Ask the engine to stop; kill its process when it still lives after the grace."""
        self.capacity = 0
        if self._duty is not None:
            self._duty.cancel()
            await asyncio.gather(self._duty, return_exceptions=True)
        if self._child is not None:
            await self._child.stop(grace_s)
            self._child = None

    async def _spawn(self, context: Context) -> "_Child":
        """Make `self._child` one that is ready; raise EngineFailed when it does not get there."""
        child = self._child = await _Child.spawn(self._spec, self._logs)
        try:
            self.capacity = await child.load(context.progress)
        except BaseException:
            self._child = None
            await child.stop(0.0)
            raise
        return child

    async def _keep(self, child: "_Child", context: Context) -> None:
        """Serve this child and its successors."""
        loop = asyncio.get_running_loop()
        wait_s = FIRST_RESPAWN_WAIT_S
        while True:
            born_at = loop.time()
            cause = await child.serve()
            # Capacity first: whoever is told of the failed jobs must not offer the place again.
            self.capacity, self._child = 0, None
            self.changed()
            child.fail_listeners(Failed(ENGINE_DIED, f"the engine's process {cause}"))
            log.error("The engine's process %s; it is spawned again.", cause)
            if loop.time() - born_at > GOOD_LIFE_S:
                wait_s = FIRST_RESPAWN_WAIT_S
            while self._child is None:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_RESPAWN_WAIT_S)
                try:
                    child = await self._spawn(context)
                except EngineFailed as error:
                    log.error("%s; trying again in %.1f s.", error, wait_s)
            self.changed()


class _Child:
    """One engine process, from its birth to its end."""

    def __init__(
        self, process: multiprocessing.context.SpawnProcess, channel: pipe.Pipe, name: str
    ) -> None:
        self.listeners: dict[int, Callable[[Event], None]] = {}
        self._process = process
        self._pipe = channel
        self._name = name
        self._health: asyncio.Future[Health] | None = None
        self._gone = asyncio.Event()
        self._exit_fd = _exit_fd(process)
        asyncio.get_running_loop().add_reader(self._exit_fd, self._exited)

    @classmethod
    async def spawn(cls, spec: EngineSpec, logs: LogSettings) -> "_Child":
        """Start the process; never by fork, which would copy this one's threads and sockets."""
        ours, theirs = socket.socketpair()
        birth = Birth(spec=spec, supervisor_pid=os.getpid(), logs=logs)
        # Not a daemon in multiprocessing's sense, because those may have no children, and a
        # user's model may want some.
        process = multiprocessing.get_context("spawn").Process(
            target=main, args=(theirs, birth), name="penstock-engine", daemon=False
        )
        # In this thread, although it takes a few milliseconds: the kernel ties the child's life
        # to the thread that started it, and this is the one that lives as long as the process.
        process.start()
        theirs.close()
        return cls(process, await pipe.Pipe.over(ours), spec.name)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def send(self, message: pipe.ToEngine) -> None:
        self._pipe.send(message)

    async def load(self, report: Callable[[float, str], None]) -> int:
        """Wait until the engine is ready; return its capacity."""
        while True:
            match await self._pipe.receive():
                case pipe.Loading(Progress(fraction, note)):
                    report(fraction, note)
                case pipe.Ready(capacity):
                    return capacity
                case pipe.Broken(cause):
                    raise EngineFailed(self._name, cause)
                case _:
                    raise EngineFailed(self._name, f"its process {await self._end()}")

    async def serve(self) -> str:
        """Pass on what the engine says until its process ends; return how it ended."""
        gone = asyncio.create_task(self._gone.wait())
        hearing = asyncio.create_task(self._hear())
        try:
            await asyncio.wait({gone, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                # What it said last may still lie in the pipe.  A grandchild may hold the other
                # end open, though, so this is not awaited for long.
                await asyncio.wait({hearing}, timeout=0.1)
        finally:
            gone.cancel()
            hearing.cancel()
        if not hearing.cancelled() and hearing.done() and (error := hearing.exception()):
            log.error("The engine's process said what cannot be read: %r.", error)
        return await self._end()

    def fail_listeners(self, failed: Failed) -> None:
        """Tell every job that still runs here that it has failed."""
        for listener in list(self.listeners.values()):
            listener(failed)

    async def health(self) -> Health:
        if self._health is None or self._health.done():
            self._health = asyncio.get_running_loop().create_future()
            self.send(pipe.AskHealth())
        return await asyncio.shield(self._health)

    async def stop(self, grace_s: float) -> None:
        """Ask it to stop, wait for that long, then kill it.  Safe on one that is dead already."""
        if grace_s > 0 and not self._gone.is_set():
            self.send(pipe.Stop(grace_s))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._gone.wait()
        await self._end()

    async def _hear(self) -> None:
        while True:
            match await self._pipe.receive():
                case pipe.Happened(number, event):
                    # A cancelled job's listener has gone; its last words are for nobody.
                    if listener := self.listeners.get(number):
                        listener(event)
                case pipe.HealthIs(health):
                    if self._health is not None and not self._health.done():
                        self._health.set_result(health)
                case None:
                    return

    async def _end(self) -> str:
        """Make sure that the process is gone, free what it held here, say how it ended."""
        self._pipe.abort()
        if not self._gone.is_set():
            # A process that ended by itself closes its pipe a moment before it can be reaped, and
            # its own exit code says more than the signal that would be sent here.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._gone.wait()
        if not self._gone.is_set():
            self._process.kill()
            await self._gone.wait()
        code = self._process.exitcode
        return f"was killed by signal {-code}" if code and code < 0 else f"exited with {code}"

    def _exited(self) -> None:
        asyncio.get_running_loop().remove_reader(self._exit_fd)
        # It has ended, so this only reaps it.
        self._process.join()
        if self._exit_fd != self._process.sentinel:
            os.close(self._exit_fd)
        self._gone.set()


def _exit_fd(process: multiprocessing.context.SpawnProcess) -> int:
    """Return a file descriptor that becomes readable when the process ends."""
    pidfd_open = getattr(os, "pidfd_open", None)
    if pidfd_open is None or process.pid is None:
        return process.sentinel
    try:
        # Preferred, because the sentinel is a pipe that a forked grandchild keeps open.
        fd: int = pidfd_open(process.pid)
    except OSError:
        return process.sentinel
    return fd
