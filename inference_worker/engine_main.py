"""The main function of the engine's process.

The process never outlives its supervisor.  On Linux the kernel kills it when the supervisor ends;
elsewhere it exits when the pipe closes, which needs a running event loop.

The user's code has the main thread (engines/user_thread.py); the pipe has a separate one.
"""

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from client_sdk.steady_output import make_output_steady
from inference_worker import pipe
from inference_worker.engines.captured_output import capture_output
from inference_worker.engines.classify import type_of_exception
from inference_worker.engines.engine import (
    Context,
    Engine,
    EngineState,
    Event,
    Failed,
    Finished,
    Health,
    Job,
    Progress,
)
from inference_worker.engines.failures import BadInput, failure_of
from inference_worker.engines.full_disk import settled_with_room
from inference_worker.engines.job_content import is_large, prepared
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.engines.media_form import is_media_form
from inference_worker.engines.user_thread import MainThread
from inference_worker.errors import EngineFailed, WorkerError
from inference_worker.gpu.inherited import InheritedLocks
from inference_worker.heartbeat import HeartbeatThread
from inference_worker.leash import die_with, leave_terminal
from inference_worker.logs import LogSettings
from inference_worker.signals import restore_defaults

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessArguments:
    """The arguments of the engine's process, from its supervisor.

    locks: of the GPUs, which this process holds as long as it lives.
    """

    spec: EngineSpec
    supervisor_pid: int
    logs: LogSettings
    locks: InheritedLocks = field(default_factory=InheritedLocks)


def main(ends: pipe.Ends, arguments: ProcessArguments) -> None:
    """Run one engine until the pipe closes or Stop arrives."""
    try:
        restore_defaults()
        leave_terminal()
        die_with(arguments.supervisor_pid)
        # A handler may print; on a full disk that must not fail its job.
        make_output_steady()
        arguments.logs.apply()
        capture_output()
        heartbeat = HeartbeatThread(ends.heartbeat)
        heartbeat.start()
        main_thread = MainThread()
        serving = threading.Thread(
            target=_serve_until_end,
            args=(ends, arguments.spec, heartbeat, main_thread),
            name="engine",
            daemon=True,
        )
        serving.start()
        main_thread.serve()
    except BaseException:
        log.exception("The engine's process ends.")
    # Not sys.exit: it would wait for threads of the engine.
    _exit(1)


def _serve_until_end(
    ends: pipe.Ends, spec: EngineSpec, heartbeat: HeartbeatThread, main_thread: MainThread
) -> None:
    try:
        asyncio.run(_serve(ends, spec, heartbeat, main_thread))
    except BaseException:
        log.exception("The engine's process ends.")
        _exit(1)
    # The main thread, or another one, may be inside a long call whose result is not needed.
    _exit(0)


def _exit(status: int) -> None:
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


async def _serve(
    ends: pipe.Ends, spec: EngineSpec, heartbeat: HeartbeatThread, main_thread: MainThread
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
        # Stop arrived, or the pipe closed, while the engine loads: there is no job to finish.
        return
    engine = loading.result()
    if isinstance(engine, pipe.Broken):
        hearing.cancel()
        channel.send(engine)
    else:
        heartbeat.gauges = engine.gauges
        channel.send(pipe.Ready(engine.capacity, engine.interface))
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
    """The running jobs of this process, by their number on the pipe."""

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
                    # In a task: a health check that hangs must not block other messages.
                    task = asyncio.create_task(self._send_health())
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
                case pipe.Stop(grace_s):
                    await self._engine.stop(grace_s)
                    return
                case None:
                    return
            message = await self._pipe.receive()

    def _begin(self, number: int, job: Job) -> None:
        end = None if job.payload_path or job.files else self._engine.run_now(job)
        if end is not None and not is_large(job, end):
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

    async def _send_health(self) -> None:
        try:
            health = await self._engine.health()
        except Exception as error:
            log.exception("The engine's health check raised.")
            health = Health(EngineState.DEAD, repr(error))
        self._pipe.send(pipe.HealthIs(health))

    async def _run(self, number: int, job: Job) -> None:
        events: AsyncGenerator[Event, None] | None = None
        try:
            if job.payload_path or job.files or is_media_form(job):
                job = await asyncio.to_thread(prepared, self._engine, job)
            events = self._engine.run(job)
            async for event in events:
                if isinstance(event, Finished) and (event.path or is_large(job, event)):
                    async with contextlib.aclosing(settled_with_room(job, event)) as settling:
                        async for event in settling:  # noqa: PLW2901
                            self._pipe.send(pipe.Happened(number, event))
                    return
                self._pipe.send(pipe.Happened(number, event))
                if isinstance(event, Finished | Failed):
                    return
            failed = Failed("EngineDefect", "the engine ended the job without an answer")
            self._pipe.send(pipe.Happened(number, failed))
        except BadInput as error:
            self._pipe.send(pipe.Happened(number, failure_of(error)))
        except Exception as error:
            log.exception("The engine raised outside of its handler.")
            self._pipe.send(
                pipe.Happened(
                    number, Failed("EngineDefect", repr(error), type=type_of_exception(error))
                )
            )
        finally:
            if events is not None:
                await events.aclose()
