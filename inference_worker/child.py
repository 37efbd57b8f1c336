"""One engine process, from start to end, as its supervisor sees it.

The supervisor kills it if its heartbeat stops, if its device is lost, or if a cancelled job does
not stop.  In the first case its jobs have failed.  In the other two, jobs that are not the cause
were only interrupted, and get `Shutdown`, which does not use up an attempt.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace

from client_sdk.wire.codes import SHUTDOWN
from client_sdk.wire.failures import FailureType
from inference_worker import pipe
from inference_worker.engine_main import ProcessArguments, main
from inference_worker.engines.classify import type_of_exit
from inference_worker.engines.engine import (
    DEVICE_LOST,
    ENGINE_DIED,
    Event,
    Failed,
    Finished,
    Health,
    Progress,
    Refresh,
)
from inference_worker.engines.load import EngineSpec
from inference_worker.environment import without_settings
from inference_worker.errors import EngineFailed
from inference_worker.heartbeat import Heartbeat, HeartbeatMonitor
from inference_worker.logs import LogSettings
from inference_worker.oom_kills import oom_kills

#: How long the code of a cancelled job may keep running before its process is killed, in seconds.
CANCEL_GRACE_S = 5.0

log = logging.getLogger(__name__)


class Child:
    """One engine process, from start to end."""

    def __init__(
        self,
        process: multiprocessing.context.SpawnProcess,
        channel: pipe.Pipe,
        heartbeat: HeartbeatMonitor,
        name: str,
        set_capacity: Callable[[int], None],
    ) -> None:
        self.listeners: dict[int, Callable[[Event], None]] = {}
        self._process = process
        self._pipe = channel
        self._heartbeat = heartbeat
        self._name = name
        self._set_capacity = set_capacity
        self._cancelled: dict[int, asyncio.TimerHandle] = {}
        self._refreshing: set[int] = set()
        self._replaced_because = ""
        self._cause = ""
        self._oom_kills = oom_kills()
        self._health: asyncio.Future[Health] | None = None
        self._gone = asyncio.Event()
        self._exit_fd = _exit_fd(process)
        asyncio.get_running_loop().add_reader(self._exit_fd, self._exited)

    @classmethod
    async def spawn(
        cls, spec: EngineSpec, logs: LogSettings, *, set_capacity: Callable[[int], None]
    ) -> "Child":
        """Start the process by spawn; fork would copy this process's threads and sockets.

        set_capacity: called when the capacity of the ready engine changes.
        """
        ours, theirs = pipe.Ends.pair()
        arguments = ProcessArguments(spec=spec, supervisor_pid=os.getpid(), logs=logs)
        # Not a daemon in the sense of multiprocessing: those cannot have children, and a user's
        # model may need some.
        process = multiprocessing.get_context("spawn").Process(
            target=main, args=(theirs, arguments), name="penstock-engine", daemon=False
        )
        # In this thread, although it blocks for a few milliseconds: the kernel kills the child when
        # the thread that started it ends, and this thread lives as long as the supervisor.
        try:
            with without_settings():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        channel, heartbeat = await pipe.Pipe.over(ours), HeartbeatMonitor(ours.heartbeat)
        return cls(process, channel, heartbeat, spec.name, set_capacity)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def last_heartbeat(self) -> Heartbeat:
        """The last heartbeat of the process."""
        return self._heartbeat.last

    def send(self, message: pipe.ToEngine) -> None:
        self._pipe.send(message)

    async def load(self, report: Callable[[float, str], None]) -> pipe.Ready:
        """Wait until the engine is ready."""
        while True:
            match await self._pipe.receive():
                case pipe.Loading(Progress(fraction, note)):
                    report(fraction, note)
                case pipe.Ready() as ready:
                    return ready
                case pipe.Broken(cause):
                    raise EngineFailed(self._name, cause)
                case _:
                    raise EngineFailed(self._name, f"its process {await self.end()}")

    async def serve(self, *, silence_s: float) -> Failed:
        """Pass on the engine's messages until its process ends; return the failure for its jobs.

        silence_s: kill it after this time without a heartbeat; 0 means never.
        """
        gone = asyncio.create_task(self._gone.wait())
        hearing = asyncio.create_task(self._receive())
        silence = asyncio.create_task(self._heartbeat.watch(silence_s=silence_s))
        try:
            await asyncio.wait({gone, hearing, silence}, return_when=asyncio.FIRST_COMPLETED)
            if silence.done() and silence.result():
                self._cause = f"gave no sign of life for {silence_s:g} s and was killed"
            elif silence.done():
                # The heartbeat's socket closes a moment before the process has ended.
                await asyncio.wait({gone, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                # Its last messages may still be in the pipe.  The wait is short, because a
                # grandchild may keep the other end open.
                await asyncio.wait({hearing}, timeout=0.1)
        finally:
            for task in (gone, hearing, silence):
                task.cancel()
            await asyncio.gather(gone, hearing, silence, return_exceptions=True)
        if not hearing.cancelled() and (error := hearing.exception()):
            log.error("The engine's process sent a message that cannot be read: %r.", error)
        ended = await self.end()
        if self._replaced_because:
            return Failed(SHUTDOWN, self._replaced_because)
        # After a silence we killed it ourselves, so it was not the kernel's OOM killer.
        short = not self._cause and oom_kills() > self._oom_kills
        kind = type_of_exit(self._process.exitcode, was_short_of_memory=short)
        why = ", because memory ran out" if kind is FailureType.OOM else ""
        return Failed(ENGINE_DIED, f"the engine's process {self._cause or ended}{why}", type=kind)

    def fail_listeners(self, failed: Failed) -> None:
        """Pass this failure to every job that still runs here."""
        for listener in list(self.listeners.values()):
            listener(failed)

    def cancel(self, number: int) -> None:
        """Cancel a job; kill the whole process if it does not stop within the grace period."""
        self.send(pipe.Cancel(number))
        loop = asyncio.get_running_loop()
        sentence = "the engine was replaced, because a cancelled job did not stop"
        self._cancelled[number] = loop.call_later(CANCEL_GRACE_S, self.replace, sentence)

    def replace(self, reason: str) -> None:
        """Kill the process for a reason that its jobs did not cause."""
        if not self._gone.is_set() and not self._replaced_because:
            self._replaced_because = reason
            self._process.kill()

    async def health(self) -> Health:
        if self._health is None or self._health.done():
            self._health = asyncio.get_running_loop().create_future()
            self.send(pipe.AskHealth())
        return await asyncio.shield(self._health)

    async def stop(self, grace_s: float) -> None:
        """Ask it to stop, wait up to `grace_s`, then kill it; also if it is already dead."""
        if grace_s > 0 and not self._gone.is_set():
            self.send(pipe.Stop(grace_s))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._gone.wait()
        await self.end()

    async def _receive(self) -> None:
        while True:
            match await self._pipe.receive():
                case pipe.Happened(number, event):
                    self._happened(number, event)
                case pipe.Ended(number):
                    if timer := self._cancelled.pop(number, None):
                        timer.cancel()
                case pipe.Ready(capacity):
                    self._set_capacity(capacity)
                case pipe.HealthIs(health):
                    if self._health is not None and not self._health.done():
                        self._health.set_result(health)
                case None:
                    return

    def _happened(self, number: int, event: Event) -> None:
        if isinstance(event, Refresh):
            self._refreshing.add(number)
            return
        # A cancelled job has no listener any more; its last events are dropped.
        listener = self.listeners.get(number)
        if isinstance(event, Failed) and event.code == DEVICE_LOST:
            # The process cannot recover from a lost device.  The job that met it may be the cause,
            # so it counts as one whose engine died; the other jobs were only interrupted.
            self.listeners.pop(number, None)
            event = replace(event, code=ENGINE_DIED, type=FailureType.GPU_LOST)
            self.replace(f"the engine was replaced: {event.message}")
        if listener:
            listener(event)
        if number in self._refreshing and isinstance(event, Finished | Failed):
            self.replace("the engine was replaced, as the handler asked")

    async def end(self) -> str:
        """Make sure that the process has ended, free its resources; return how it ended."""
        self._pipe.abort()
        self._heartbeat.close()
        for timer in self._cancelled.values():
            timer.cancel()
        self._cancelled.clear()
        if not self._gone.is_set():
            # A process that ends by itself closes its pipe a moment before it can be reaped.  Its
            # own exit code tells more than the SIGKILL below, so wait for it briefly.
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
        # Kill the programs that it started.  Before it is reaped, because after that the kernel may
        # give the id of its process group to another group.
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        # The process has ended, so this does not block.
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
        # Preferred, because the sentinel is a pipe, which a forked grandchild keeps open.
        fd: int = pidfd_open(process.pid)
    except OSError:
        return process.sentinel
    return fd
