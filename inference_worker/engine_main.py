"""The engine's own process: what runs on the other end of the pipe.

It lives no longer than its supervisor, however that ends.  On Linux the kernel kills it when the
parent goes; everywhere else the end of the pipe does, as long as the loop gets to see it.

The main thread belongs to the user's code (engines/user_thread.py); the pipe has one of its own.
"""

import asyncio
import contextlib
import logging
import os
import sys
import threading
from dataclasses import dataclass

from client_sdk.steady_output import make_output_steady
from inference_worker import pipe
from inference_worker.engines.classify import type_of_exception
from inference_worker.engines.engine import (
    Context,
    Engine,
    Failed,
    Finished,
    Health,
    Job,
    Progress,
    State,
)
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.engines.user_thread import MainThread
from inference_worker.errors import EngineFailed, WorkerError
from inference_worker.leash import die_with, leave_terminal
from inference_worker.logs import LogSettings
from inference_worker.pulse import PulseThread
from inference_worker.signals import restore_defaults

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Birth:
    """What the supervisor gives its engine's process at the start."""

    spec: EngineSpec
    supervisor_pid: int
    logs: LogSettings


def main(ends: pipe.Ends, birth: Birth) -> None:
    """Run one engine until the pipe ends or says Stop."""
    try:
        restore_defaults()
        leave_terminal()
        die_with(birth.supervisor_pid)
        # A handler may print, and a full disk is no reason for its job to fail.
        make_output_steady()
        birth.logs.apply()
        pulse = PulseThread(ends.pulse)
        pulse.start()
        main_thread = MainThread()
        serving = threading.Thread(
            target=_serve_until_end,
            args=(ends, birth.spec, pulse, main_thread),
            name="engine",
            daemon=True,
        )
        serving.start()
        main_thread.serve()
    except BaseException:
        log.exception("The engine's process ends.")
    # Threads of the engine would keep the interpreter from exiting.
    _exit(1)


def _serve_until_end(
    ends: pipe.Ends, spec: EngineSpec, pulse: PulseThread, main_thread: MainThread
) -> None:
    try:
        asyncio.run(_serve(ends, spec, pulse, main_thread))
    except BaseException:
        log.exception("The engine's process ends.")
        _exit(1)
    # The main thread, or another one, may be inside a long call; nobody waits for what it computes.
    _exit(0)


def _exit(status: int) -> None:
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


async def _serve(
    ends: pipe.Ends, spec: EngineSpec, pulse: PulseThread, main_thread: MainThread
) -> None:
    channel = await pipe.Pipe.over(ends)
    loop = asyncio.get_running_loop()

    def report(progress: Progress) -> None:
        loop.call_soon_threadsafe(channel.send, pipe.Loading(progress))

    context = Context(report=report, device=spec.device)
    loading = asyncio.create_task(_load(spec, main_thread, context))
    hearing = asyncio.create_task(channel.receive())
    await asyncio.wait({loading, hearing}, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        # Stop, or the end of the pipe, while the engine loads: nothing has to be finished.
        return
    engine = loading.result()
    if isinstance(engine, pipe.Broken):
        hearing.cancel()
        channel.send(engine)
    else:
        pulse.gauges = engine.gauges
        channel.send(pipe.Ready(engine.capacity))
        engine.changed = lambda: channel.send(pipe.Ready(engine.capacity))
        await _Jobs(engine, channel).serve(hearing)
    await channel.close()


async def _load(
    spec: EngineSpec, main_thread: MainThread, context: Context
) -> Engine | pipe.Broken:
    try:
        engine = load_engine(spec)
        engine.main_thread = main_thread
        await engine.start(context)
    except EngineFailed as error:
        return pipe.Broken(error.cause)
    except WorkerError as error:
        return pipe.Broken(str(error))
    return engine


class _Jobs:
    """The jobs that run in this process, by their number on the pipe."""

    def __init__(self, engine: Engine, channel: pipe.Pipe) -> None:
        self._engine = engine
        self._pipe = channel
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def serve(self, first: asyncio.Task[pipe.ToEngine | pipe.FromEngine | None]) -> None:
        message = await first
        while True:
            match message:
                case pipe.Run(number, job):
                    self._begin(number, job)
                case pipe.Cancel(number):
                    self._cancel(number)
                case pipe.AskHealth():
                    # Not awaited here: a health that hangs must not keep jobs from beginning.
                    task = asyncio.create_task(self._tell_health())
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
                case pipe.Stop(grace_s):
                    await self._engine.stop(grace_s)
                    return
                case None:
                    return
            message = await self._pipe.receive()

    def _begin(self, number: int, job: Job) -> None:
        if end := self._engine.run_now(job):
            self._pipe.send(pipe.Happened(number, end))
            return
        task = asyncio.create_task(self._run(number, job))
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    def _cancel(self, number: int) -> None:
        if task := self._tasks.get(number):
            task.cancel()
            task.add_done_callback(lambda _: self._pipe.send(pipe.Ended(number)))
        else:
            self._pipe.send(pipe.Ended(number))

    async def _tell_health(self) -> None:
        try:
            health = await self._engine.health()
        except Exception as error:
            log.exception("The engine raised when it was asked how it is.")
            health = Health(State.DEAD, repr(error))
        self._pipe.send(pipe.HealthIs(health))

    async def _run(self, number: int, job: Job) -> None:
        events = self._engine.run(job)
        try:
            async for event in events:
                self._pipe.send(pipe.Happened(number, event))
                if isinstance(event, Finished | Failed):
                    return
            failed = Failed("EngineDefect", "the engine ended the job without an answer")
            self._pipe.send(pipe.Happened(number, failed))
        except Exception as error:
            log.exception("The engine raised outside of its handler.")
            self._pipe.send(
                pipe.Happened(
                    number, Failed("EngineDefect", repr(error), type=type_of_exception(error))
                )
            )
        finally:
            await events.aclose()
