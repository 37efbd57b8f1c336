"""A worker: connect -> admit -> run -> complete.

The window is the engine's capacity, and the only back-pressure: the queue service never delivers
more, so the worker needs no queue for jobs.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from client_sdk.wire import codes
from client_sdk.wire.load import Load
from client_sdk.wire.worker import Delivery
from client_sdk.work import WorkConnection
from client_sdk.work_events import Lost, Stop
from inference_worker.answers import RUN_TIMEOUT, refusal_of
from inference_worker.circuit_breaker import CircuitBreaker, unknown_count
from inference_worker.consecutive_failures import ConsecutiveFailures
from inference_worker.engines.classify import type_of_exception
from inference_worker.engines.engine import Artifact, Engine, Failed, Finished, Logged, Progress
from inference_worker.first_load import Check, first_load
from inference_worker.gpu_guard import Unwatched
from inference_worker.idle_exit import IdleExit
from inference_worker.job_files import JobFiles
from inference_worker.leaving import Leaving
from inference_worker.log_messages import LOST, PAUSES
from inference_worker.metrics import Metrics
from inference_worker.open_window import OpenWindow
from inference_worker.outbox import Outbox
from inference_worker.reporter import Reporter
from inference_worker.running import Running, load_of, note_death, state_of, timeout_of
from inference_worker.slot_cooldown import SlotCooldown
from inference_worker.start_queue import StartQueue

#: How long a leaving worker waits for the outcomes of its answers, in seconds.
CONFIRM_S = 3.0
#: The same after a second signal.
CONFIRM_AT_ONCE_S = 0.5
#: How long the engine may take to stop after its last job, in seconds.
ENGINE_STOP_S = 5.0

log = logging.getLogger(__name__)


class Worker:
    """Runs the jobs of one service on one engine.

    connect: returns a connection with this window; called once, when the engine is ready.
    run_timeout_s: the longest time of one attempt; 0 means no limit.  sick_after: after this
    many different jobs have failed in a row the engine is restarted; 0 means never.  count_peers:
    how many other workers accept jobs now; None if unknown.  check: see first_load.  guard: watches
    its GPUs.  exit_when_idle_s: it leaves after this many seconds without a job; 0 means never.
    files: fetches and uploads the files of jobs.
    """

    def __init__(
        self,
        engine: Engine,
        connect: Callable[[int], WorkConnection],
        *,
        metrics: Metrics,
        grace_s: float,
        run_timeout_s: float = 0.0,
        sick_after: int = 0,
        count_peers: Callable[[], Awaitable[int | None]] = unknown_count,
        check: Check | None = None,
        exit_when_idle_s: float = 0.0,
        guard: Unwatched | None = None,
        files: JobFiles | None = None,
    ) -> None:
        self.engine = engine
        self.connection: WorkConnection | None = None
        self.loading: Progress | None = None
        self._connect = connect
        self._check, self._guard, self._files = check, guard or Unwatched(), files or JobFiles()
        self._metrics = metrics
        self._grace_s, self._run_timeout_s = grace_s, run_timeout_s
        self._running: dict[int, Running] = {}
        self._start_queue: StartQueue[Running] = StartQueue()
        self._failures = ConsecutiveFailures(sick_after)
        self._breaker = CircuitBreaker(engine, self._set_window, count_peers)
        self._cooldown = SlotCooldown(self._set_window)
        self._process_number, self._window = 0, OpenWindow(metrics)
        self._idle = asyncio.Event()
        self._idle.set()
        self._leaving = Leaving()
        self._idle_exit = IdleExit(exit_when_idle_s, self._is_idle, self._leave_idle)
        metrics.held.set_function(lambda: len(self._running))
        metrics.watch(self.load, engine.gauges)

    @property
    def held(self) -> int:
        """The number of held deliveries."""
        return len(self._running)

    def load(self) -> Load:
        """Return how busy this worker is."""
        rests = self._breaker.is_open or self._guard.is_shut
        state = state_of(self.engine, leaves=self._leaving.has_begun, rests=rests)
        return self._guard.describe(load_of(self.engine, self._start_queue, state))

    def drain(self) -> None:
        """Begin to leave: accept nothing new, finish the held jobs within the grace period."""
        self._leaving.within_grace()

    def drain_at_once(self) -> None:
        """Leave without finishing anything; held deliveries are delivered again."""
        self._leaving.now()

    def drain_when_asked(self) -> None:
        """Begin to leave: accept nothing new, finish the held jobs however long they take."""
        self._leaving.when_done()

    async def run(self) -> None:
        """Load the engine, connect, serve until `drain`, leave.

        Raises EngineFailed if the engine does not load, and the QueueError that ended the
        connection for good.
        """
        leaving = asyncio.create_task(self._leaving.begun.wait())
        try:
            if not await self._load(leaving):
                return
            serving = asyncio.create_task(self._serve(), name="serve")
            self._idle_exit.start()
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            await self._drain(serving)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        finally:
            leaving.cancel()
            self._idle_exit.stop()
            await self._stop()

    # --- Serving

    async def _load(self, leaving: asyncio.Task[Any]) -> bool:
        """Load the engine and connect; return False if the worker has to leave before that."""
        report, prepare = self._note_loading, self._guard.prepare
        if not await first_load(
            self.engine, report, prepare=prepare, check=self._check, leaving=leaving
        ):
            return False
        # Only now: a worker that connects before it can compute would hold deliveries that other
        # workers could run.
        self.loading = None
        await self._guard.start(self.engine, self._gpus_changed, lambda: not self._running)
        window = 0 if self._guard.is_shut else self.engine.capacity
        self.connection = self._connect(window)
        self._window.open(self.connection, window)
        self._files.connection = self.connection
        self._outbox = Outbox(self.connection, self._metrics)
        self._reporter = Reporter(self.connection.send_event)
        self.engine.changed = self._engine_changed
        self.connection.start()
        return True

    async def _serve(self) -> None:
        assert self.connection is not None, "serve before load"
        await self.connection.wait_connected()
        log.info("Connected, with a window of %d.", self.engine.capacity)
        async for event in self.connection:
            if isinstance(event, Lost):
                self._lose(event)
            elif isinstance(event, Stop):
                self._stop_running(event)
            else:
                self._admit(event)

    def _admit(self, delivery: Delivery) -> None:
        self._metrics.deliveries.inc()
        self._idle_exit.note_job()
        running = self._running.get(delivery.index)
        if running is not None:
            # The lease of the earlier delivery ended while its job kept running here.  A second run
            # would waste the first one, which may be nearly done.  So the running job continues,
            # and only its answer carries the newer attempt.
            if delivery.attempt > running.delivery.attempt:
                running.delivery = delivery
                self._reporter.move_to(delivery)
            return
        is_leaving, is_resting = self._leaving.has_begun, self._breaker.is_open
        if refusal := self._guard.refusal() or refusal_of(
            delivery, is_leaving=is_leaving, is_resting=is_resting
        ):
            self._outbox.answer(delivery, refusal)
            return
        is_alone = delivery.alone or delivery.deaths > 0
        if not (self._start_queue.is_exclusive or is_alone) and (
            end := self._files.run_now(self.engine, delivery, self._run_timeout_s)
        ):
            self._end(delivery, end)
            return
        running = Running(delivery)
        self._running[delivery.index] = running
        self._idle.clear()
        self._start_queue.add(running, alone=is_alone)
        self._start_next()

    def _start_next(self) -> None:
        for running in self._start_queue.start_next():
            running.task = asyncio.create_task(self._run(running))
        self._set_window()

    async def _run(self, running: Running) -> None:
        running.has_begun = True
        end: Finished | Failed | None = None
        run = self._files.run(self.engine, running, self._run_timeout_s, self._time_out)
        try:
            async with contextlib.aclosing(run) as events:
                async for event in events:
                    if isinstance(event, Finished | Failed):
                        end = event
                        break
                    self._metrics.note(event)
                    running.note(event)
                    if running.delivery.events or isinstance(event, Artifact | Logged):
                        self._reporter.add(running.delivery, event)
            if isinstance(end, Failed):
                end = await self._guard.judge(end)
                self._reporter.add(running.delivery, end)
        except asyncio.CancelledError:
            # A canceled job: nothing of it runs any more, so its slot is free.
            if not running.stopping:
                raise
        except Exception as error:
            log.exception("The engine raised while it ran %s.", running.delivery.request_id)
            end = Failed("EngineDefect", repr(error), type=type_of_exception(error))
        finally:
            self._forget(running)
        if end is None and running.stopping:
            self._outbox.stopped(running.delivery, ran_s=running.ran_s)
            return
        end = running.judge(end or Failed("EngineDefect", "the engine ended without an answer"))
        self._metrics.run_seconds.observe(running.ran_s)
        self._end(running.delivery, end, ran_s=running.ran_s)

    def _time_out(self, running: Running) -> None:
        self._metrics.timeouts.inc()
        limit_s = timeout_of(running.delivery, limit_s=self._run_timeout_s)
        sentence = f"it ran for longer than {limit_s:g} s"
        end = Failed(RUN_TIMEOUT, sentence)
        self._reporter.add(running.delivery, end)
        self._cancel(running)
        self._end(running.delivery, end, ran_s=running.ran_s)

    def _lose(self, event: Lost) -> None:
        for held in event.deliveries:
            running = self._running.get(held.index)
            if running is not None and running.delivery.attempt <= held.attempt:
                self._metrics.lost.inc()
                log.warning(LOST, held.attempt, running.delivery.request_id)
                self._cancel(running)

    def _stop_running(self, event: Stop) -> None:
        for held in event.deliveries:
            running = self._running.get(held.index)
            if running is None or running.delivery.attempt > held.attempt or running.stopping:
                continue
            self._metrics.stopped.inc()
            if not running.stop():
                self._forget(running)
                self._outbox.stopped(running.delivery, ran_s=0.0)

    def _cancel(self, running: Running) -> None:
        running.stopping = False
        # Forget it now, not when the task has ended: a redelivery that arrives meanwhile must run,
        # and not wait for a job that will never answer.
        self._forget(running)
        if running.task is not None:
            running.task.cancel()

    def _forget(self, running: Running) -> None:
        if self._running.get(running.delivery.index) is not running:
            return
        del self._running[running.delivery.index]
        self._reporter.finish(running.delivery)
        running.stop_clock()
        self._guard.job_ended()
        was_exclusive = self._start_queue.is_exclusive
        self._start_queue.remove(running)
        if was_exclusive:
            self._start_next()
        if not self._running:
            self._idle.set()
            self._idle_exit.note_job()

    def _end(self, delivery: Delivery, end: Finished | Failed, *, ran_s: float = 0.0) -> None:
        """Answer a delivery whose job has ended, and decide whether the engine is sick."""
        if isinstance(end, Finished):
            self._breaker.record_success()
        elif end.cooldown_s:
            # Before the answer, because the service refills the slot after it.
            self._cooldown.start(end.cooldown_s)
            self._set_window()
        is_sick = self._failures.record(
            delivery,
            end,
            process_number=self._process_number,
            now_s=time.monotonic(),
            running=(one.delivery.owner_mark for one in self._running.values()),
        )
        is_closed = not (self._breaker.is_open or self._leaving.has_begun)
        if isinstance(end, Finished) or not is_sick or not is_closed:
            self._outbox.answer(delivery, end, ran_s=ran_s)
            return
        self._failures.reset()
        self._metrics.rests.inc()
        log.error(PAUSES, end.code, end.message)
        self._breaker.open()
        why = "the worker's engine failed too often in a row"
        self._outbox.answer(delivery, Failed(codes.SHUTDOWN, why))
        self._return_all("the worker's engine is being restarted")

    def _return_all(self, why: str) -> None:
        for running in list(self._running.values()):
            self._cancel(running)
            end = self._guard.refusal() or Failed(codes.SHUTDOWN, why)
            self._outbox.answer(running.delivery, end)

    # --- The engine and the window

    def _engine_changed(self) -> None:
        if not self.engine.capacity:
            self._process_number += 1
            note_death(self._running.values())
            self._metrics.engine_deaths.inc()
        else:
            self.loading = None
        self._set_window()

    def _gpus_changed(self) -> None:
        if self._guard.is_shut:
            self._return_all("its GPU has failed")
        self._set_window()

    def _set_window(self) -> None:
        """Window = capacity, or 0 while draining, resting or running a job alone."""
        is_shut = self._leaving.has_begun or self._breaker.is_open or self._guard.is_shut
        is_shut = is_shut or self._start_queue.is_exclusive
        self._window.set(0 if is_shut else max(0, self.engine.capacity - self._cooldown.count))

    def _note_loading(self, progress: Progress) -> None:
        self.loading = progress
        log.info("Loading, %d %%. %s", progress.fraction * 100, progress.note)

    # --- Leaving

    def _is_idle(self) -> bool:
        is_connected = self.connection is not None and self.connection.statistics().connected
        return is_connected and self._window.size > 0 and not self._running

    def _leave_idle(self) -> None:
        log.info("There was no job for %g s.", self._idle_exit.after_s)
        # The service closes the window first: then no delivery is on its way to a worker that ends.
        if self.connection is None or not self.connection.ask_to_leave():
            self._leaving.when_done()

    async def _drain(self, serving: asyncio.Task[None]) -> None:
        """Return all held deliveries, in an order that loses neither time nor work.

        1. Set the window to 0, so that nothing new is delivered.
        2. Let the held jobs finish, after a signal within the grace period.
        3. Reject unfinished ones with `Shutdown`: they are delivered again now, not when a lease
           ends, and it does not use up an attempt.
        4. Await the outcomes: an unconfirmed result may be lost with the connection, and would be
           computed again.

        Then the connection closes.  The engine stops last, because step 2 needs it.
        """
        limit = f"{self._grace_s:g} s" if self._leaving.is_limited else "no limit of time"
        log.info("Leaving: %d held, %s to finish them.", self.held, limit)
        self._set_window()
        await self._leaving.wait(self._idle, serving, grace_s=self._grace_s)

        self._return_all("the worker is leaving")

        confirm_s = CONFIRM_AT_ONCE_S if self._leaving.at_once.is_set() else CONFIRM_S
        if left := await self._outbox.wait_empty(confirm_s):
            log.warning("Left without the outcome of %d answers.", left)

    async def _stop(self) -> None:
        self._cooldown.stop()
        await self._guard.stop()
        await self._breaker.stop()
        for running in list(self._running.values()):
            self._cancel(running)
        if self.connection is not None:
            await self.connection.close()
        await self.engine.stop(0.0 if self._leaving.at_once.is_set() else ENGINE_STOP_S)
        await self._files.close()
        log.info("Left.")
