"""One process of an engine, from its birth to its end, as its supervisor sees it.

It is ended before its time when it gives no sign of life, when its device is lost, or when a
job that nobody wants does not stop.  Only in the first case its jobs have failed with it; in the
others those that are not to blame have merely been disturbed.
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
from inference_worker.engine_main import Birth, main
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
from inference_worker.logs import LogSettings
from inference_worker.oom_kills import oom_kills
from inference_worker.pulse import Beat, Pulse

#: How long the code of a cancelled job may go on before its process is replaced, in seconds.
CANCEL_GRACE_S = 5.0

log = logging.getLogger(__name__)


class Child:
    """One engine process, from its birth to its end."""

    def __init__(
        self,
        process: multiprocessing.context.SpawnProcess,
        channel: pipe.Pipe,
        pulse: Pulse,
        name: str,
        offer: Callable[[int], None],
    ) -> None:
        self.listeners: dict[int, Callable[[Event], None]] = {}
        self._process = process
        self._pipe = channel
        self._pulse = pulse
        self._name = name
        self._offer = offer
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
        cls, spec: EngineSpec, logs: LogSettings, *, offer: Callable[[int], None]
    ) -> "Child":
        """Start the process; never by fork, which would copy this one's threads and sockets.

        offer: called when the engine, once it is ready, takes another number of jobs.
        """
        ours, theirs = pipe.Ends.pair()
        birth = Birth(spec=spec, supervisor_pid=os.getpid(), logs=logs)
        # Not a daemon in multiprocessing's sense, because those may have no children, and a
        # user's model may want some.
        process = multiprocessing.get_context("spawn").Process(
            target=main, args=(theirs, birth), name="penstock-engine", daemon=False
        )
        # In this thread, although it takes a few milliseconds: the kernel ties the child's life
        # to the thread that started it, and this is the one that lives as long as the process.
        try:
            with without_settings():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, await pipe.Pipe.over(ours), Pulse(ours.pulse), spec.name, offer)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def beat(self) -> Beat:
        """What its last pulse told."""
        return self._pulse.last

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
                    raise EngineFailed(self._name, f"its process {await self.end()}")

    async def serve(self, *, silence_s: float) -> Failed:
        """Pass on what the engine says until its process ends; return what its jobs get.

        silence_s: ended when it gives no sign of life for so long; 0 is never.
        """
        gone = asyncio.create_task(self._gone.wait())
        hearing = asyncio.create_task(self._hear())
        silence = asyncio.create_task(self._pulse.feel(silence_s=silence_s))
        try:
            await asyncio.wait({gone, hearing, silence}, return_when=asyncio.FIRST_COMPLETED)
            if silence.done() and silence.result():
                self._cause = f"gave no sign of life for {silence_s:g} s and was killed"
            elif silence.done():
                # The end of its pulse is not yet the end of the process.
                await asyncio.wait({gone, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                # What it said last may still lie in the pipe.  A grandchild may hold the other
                # end open, though, so this is not awaited for long.
                await asyncio.wait({hearing}, timeout=0.1)
        finally:
            for task in (gone, hearing, silence):
                task.cancel()
            await asyncio.gather(gone, hearing, silence, return_exceptions=True)
        if not hearing.cancelled() and (error := hearing.exception()):
            log.error("The engine's process said what cannot be read: %r.", error)
        ended = await self.end()
        if self._replaced_because:
            return Failed(SHUTDOWN, self._replaced_because)
        # One that was killed for its silence was killed by us.
        short = not self._cause and oom_kills() > self._oom_kills
        kind = type_of_exit(self._process.exitcode, was_short_of_memory=short)
        why = ", for want of memory" if kind is FailureType.OOM else ""
        return Failed(ENGINE_DIED, f"the engine's process {self._cause or ended}{why}", type=kind)

    def fail_listeners(self, failed: Failed) -> None:
        """Tell every job that still runs here that it has failed."""
        for listener in list(self.listeners.values()):
            listener(failed)

    def cancel(self, number: int) -> None:
        """Stop a job that nobody wants: first by asking, then with the whole process."""
        self.send(pipe.Cancel(number))
        loop = asyncio.get_running_loop()
        sentence = "the engine was replaced, because a cancelled job did not stop"
        self._cancelled[number] = loop.call_later(CANCEL_GRACE_S, self.replace, sentence)

    def replace(self, reason: str) -> None:
        """End the process for a reason that its jobs are not to blame for."""
        if not self._gone.is_set() and not self._replaced_because:
            self._replaced_because = reason
            self._process.kill()

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
        await self.end()

    async def _hear(self) -> None:
        while True:
            match await self._pipe.receive():
                case pipe.Happened(number, event):
                    self._happened(number, event)
                case pipe.Ended(number):
                    if timer := self._cancelled.pop(number, None):
                        timer.cancel()
                case pipe.Ready(capacity):
                    self._offer(capacity)
                case pipe.HealthIs(health):
                    if self._health is not None and not self._health.done():
                        self._health.set_result(health)
                case None:
                    return

    def _happened(self, number: int, event: Event) -> None:
        if isinstance(event, Refresh):
            self._refreshing.add(number)
            return
        # A cancelled job's listener has gone; its last words are for nobody.
        listener = self.listeners.get(number)
        if isinstance(event, Failed) and event.code == DEVICE_LOST:
            # No process recovers from that.  The job which met it may have caused it, and is
            # treated as one whose engine died; the others have only been disturbed.
            self.listeners.pop(number, None)
            event = replace(event, code=ENGINE_DIED, type=FailureType.GPU_LOST)
            self.replace(f"the engine was replaced: {event.message}")
        if listener:
            listener(event)
        if number in self._refreshing and isinstance(event, Finished | Failed):
            self.replace("the engine was replaced, as the handler asked")

    async def end(self) -> str:
        """Make sure that the process is gone, free what it held here, say how it ended."""
        self._pipe.abort()
        self._pulse.close()
        for timer in self._cancelled.values():
            timer.cancel()
        self._cancelled.clear()
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
        # What it has started ends with it.  Now, because as long as it is not reaped nobody else
        # can have the number of its group.
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
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
