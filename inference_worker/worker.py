"""A worker: connect -> admit -> run -> complete.

The engine's capacity is the window, and the window is the whole of the back-pressure: the queue
service never hands out more, so there is no queue in here.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from client_sdk.wire import codes
from client_sdk.wire.load import Load
from client_sdk.wire.worker import Delivery
from client_sdk.work import WorkConnection
from client_sdk.work_events import Lost, Stop
from inference_worker.answers import RUN_TIMEOUT
from inference_worker.engines.classify import type_of_exception
from inference_worker.engines.engine import Context, Engine, Failed, Finished, Job, Progress
from inference_worker.line import Line
from inference_worker.metrics import Metrics
from inference_worker.outbox import Outbox
from inference_worker.refusing import refusal_of
from inference_worker.reporter import Reporter
from inference_worker.rest import Rest, nobody_knows
from inference_worker.running import Running, job_of, load_of, note_death, timeout_of
from inference_worker.spared import Spared
from inference_worker.streak import Streak

#: How long answers may wait for their outcome when the worker leaves, in seconds.
CONFIRM_S = 3.0
#: The same when it was told a second time to leave.
CONFIRM_AT_ONCE_S = 0.5
#: How long the engine may take to stop once nothing runs in it, in seconds.
ENGINE_STOP_S = 5.0

log = logging.getLogger(__name__)


class Worker:
    """Runs the jobs of one service on one engine.

    connect: makes the connection for a window; it is called once, when the engine is ready.
    run_timeout_s: an attempt is cut off after so long; 0 is never.  sick_after: how many different
    jobs have to fail in a row for the engine to be begun anew; 0 is never.  others: how many other
    workers take jobs now; None when that cannot be told.  check: asks the service, while the engine
    loads, whether it takes this worker; raises the QueueError that says why not.
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
        others: Callable[[], Awaitable[int | None]] = nobody_knows,
        check: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.engine = engine
        self.connection: WorkConnection | None = None
        self.loading: Progress | None = None
        self._connect = connect
        self._check = check
        self._metrics = metrics
        self._grace_s = grace_s
        self._run_timeout_s = run_timeout_s
        self._running: dict[int, Running] = {}
        self._line: Line[Running] = Line()
        self._streak = Streak(sick_after)
        self._rest = Rest(engine, self._set_window, others)
        self._spared = Spared(self._set_window)
        self._lives = 0
        self._window = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._leaving = asyncio.Event()
        self._at_once = asyncio.Event()
        metrics.held.set_function(lambda: len(self._running))
        metrics.watch(self.load, engine.gauges)

    @property
    def held(self) -> int:
        """How many deliveries run here now."""
        return len(self._running)

    def load(self) -> Load:
        """Say how busy this worker is."""
        return load_of(self.engine, self._line)

    def drain(self) -> None:
        """Begin to leave: take nothing new, finish what is held within the grace."""
        self._leaving.set()

    def drain_at_once(self) -> None:
        """Leave without finishing anything; what is held goes out again."""
        self._leaving.set()
        self._at_once.set()

    async def run(self) -> None:
        """Load the engine, connect, serve until `drain`, leave.

        Raises EngineFailed when the engine does not load, and the QueueError that ended the
        connection for good.
        """
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            if not await self._load(leaving):
                return
            serving = asyncio.create_task(self._serve(), name="serve")
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            await self._drain(serving)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        finally:
            leaving.cancel()
            await self._stop()

    # --- Serving

    async def _load(self, leaving: asyncio.Task[Any]) -> bool:
        """Load the engine and connect; return False when the worker was told to leave first."""
        log.info("The engine %s is loading.", self.engine.name)
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        loading = asyncio.create_task(
            self.engine.start(Context(report=self._note_loading, log=log))
        )
        checking = leaving if self._check is None else asyncio.create_task(self._check())
        try:
            # A wrong token is reported now, and not after minutes of loading.
            await asyncio.wait({loading, leaving, checking}, return_when=asyncio.FIRST_COMPLETED)
            if checking.done() and not leaving.done():
                checking.result()
                await asyncio.wait({loading, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done():
                return False
        finally:
            for task in {loading, checking} - {leaving}:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        loading.result()
        log.info("The engine is ready after %.1f s.", loop.time() - began_at)

        # Only now, because a worker that subscribes before it can compute would hold entries
        # that others have room for.
        self.loading = None
        self._window = self.engine.capacity
        self.connection = self._connect(self._window)
        self._outbox = Outbox(self.connection, self._metrics)
        self._reporter = Reporter(self.connection.tell)
        self.engine.changed = self._engine_changed
        self._metrics.window.set(self._window)
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
        running = self._running.get(delivery.index)
        if running is not None:
            # Its earlier delivery was given up while the job went on here.  To run it twice would
            # waste the one run that is nearly done; only its answer needs the newer attempt.
            if delivery.attempt > running.delivery.attempt:
                running.delivery = delivery
                self._reporter.hand_over(delivery)
            return
        is_leaving, is_resting = self._leaving.is_set(), self._rest.is_on
        if refusal := refusal_of(delivery, is_leaving=is_leaving, is_resting=is_resting):
            self._outbox.answer(delivery, refusal)
            return
        is_alone = delivery.alone or delivery.deaths > 0
        if not (self._line.is_shut or is_alone) and (
            end := self.engine.run_now(self._job_of(delivery))
        ):
            self._end(delivery, end)
            return
        running = Running(delivery)
        self._running[delivery.index] = running
        self._idle.clear()
        self._line.join(running, alone=is_alone)
        self._begin_next()

    def _begin_next(self) -> None:
        loop = asyncio.get_running_loop()
        for running in self._line.enter():
            running.began_at = loop.time()
            if timeout_s := self._timeout_of(running.delivery):
                running.timer = loop.call_later(timeout_s, self._time_out, running)
            job = self._job_of(running.delivery)
            running.task = asyncio.create_task(self._run(running, job))
        self._set_window()

    async def _run(self, running: Running, job: Job) -> None:
        end: Finished | Failed | None = None
        try:
            async with contextlib.aclosing(self.engine.run(job)) as events:
                async for event in events:
                    if isinstance(event, Finished | Failed):
                        end = event
                        break
                    self._metrics.note(event)
                    if running.delivery.events:
                        self._reporter.add(running.delivery, event)
        except asyncio.CancelledError:
            # Of one that nobody wants any more nothing runs now, so its place is free.
            if not running.stopping:
                raise
        except Exception as error:
            log.exception("The engine raised while it ran %s.", job.request_id)
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
        self._cancel(running)
        sentence = f"it ran for longer than {self._timeout_of(running.delivery):g} s"
        self._end(running.delivery, Failed(RUN_TIMEOUT, sentence), ran_s=running.ran_s)

    def _lose(self, event: Lost) -> None:
        for held in event.deliveries:
            running = self._running.get(held.index)
            if running is not None and running.delivery.attempt <= held.attempt:
                self._metrics.lost.inc()
                log.warning(
                    "Delivery %d of %s was lost; its job is cancelled.",
                    held.attempt,
                    running.delivery.request_id,
                )
                self._cancel(running)

    def _stop_running(self, event: Stop) -> None:
        for held in event.deliveries:
            running = self._running.get(held.index)
            if running is None or running.delivery.attempt > held.attempt or running.stopping:
                continue
            self._metrics.stopped.inc()
            if running.task is None:
                self._forget(running)
                self._outbox.stopped(running.delivery, ran_s=0.0)
            else:
                running.stopping = True
                running.task.cancel()

    def _cancel(self, running: Running) -> None:
        running.stopping = False
        # Forgotten at once and not when the task has ended, so that a redelivery that comes
        # meanwhile is run anew instead of waiting for a job that will never answer.
        self._forget(running)
        if running.task is not None:
            running.task.cancel()

    def _forget(self, running: Running) -> None:
        if self._running.get(running.delivery.index) is not running:
            return
        del self._running[running.delivery.index]
        self._reporter.finish(running.delivery)
        if running.timer is not None:
            running.timer.cancel()
        was_shut = self._line.is_shut
        self._line.leave(running)
        if was_shut:
            self._begin_next()
        if not self._running:
            self._idle.set()

    def _end(self, delivery: Delivery, end: Finished | Failed, *, ran_s: float = 0.0) -> None:
        """Answer a delivery whose job has ended, and see what that says about the engine."""
        if isinstance(end, Finished):
            self._rest.succeeded()
        elif end.spare_s:
            # Before the answer, which opens the place.
            self._spared.leave_empty(end.spare_s)
            self._set_window()
        running = (one.delivery.owner_mark for one in self._running.values())
        now_s = time.monotonic()
        is_sick = self._streak.note(delivery, end, life=self._lives, now_s=now_s, running=running)
        if isinstance(end, Finished) or not is_sick or self._rest.is_on or self._leaving.is_set():
            self._outbox.answer(delivery, end, ran_s=ran_s)
            return
        self._streak.forget()
        self._metrics.rests.inc()
        log.error(
            "Different jobs failed in a row, the last one with %s: %s; the worker rests.",
            end.code,
            end.message,
        )
        self._rest.begin()
        self._give_back(delivery, "the worker's engine failed too often in a row")
        for other in list(self._running.values()):
            self._cancel(other)
            self._give_back(other.delivery, "the worker's engine is begun anew")

    def _give_back(self, delivery: Delivery, why: str) -> None:
        self._outbox.answer(delivery, Failed(codes.SHUTDOWN, why))

    # --- The engine and the window

    def _engine_changed(self) -> None:
        if not self.engine.capacity:
            self._lives += 1
            note_death(self._running.values())
            self._metrics.engine_deaths.inc()
        else:
            self.loading = None
        self._set_window()

    def _set_window(self) -> None:
        """Take as many as the engine does, unless there is a reason to take none."""
        is_shut = self._leaving.is_set() or self._rest.is_on or self._line.is_shut
        window = 0 if is_shut else max(0, self.engine.capacity - self._spared.count)
        if self.connection is None or window == self._window:
            return
        self._window = window
        self._metrics.window.set(window)
        self.connection.set_window(window)
        log.info("The window is %d now.", window)

    def _note_loading(self, progress: Progress) -> None:
        self.loading = progress
        log.info("Loading, %d %%. %s", progress.fraction * 100, progress.note)

    def _timeout_of(self, delivery: Delivery) -> float:
        return timeout_of(delivery, limit_s=self._run_timeout_s)

    def _job_of(self, delivery: Delivery) -> Job:
        return job_of(delivery, timeout_s=self._timeout_of(delivery))

    # --- Leaving

    async def _drain(self, serving: asyncio.Task[None]) -> None:
        """Give back everything that is held, in an order that loses no time and no work.

        1. The window becomes 0: nothing new is handed out while the rest goes on.
        2. What is held gets the grace to finish.
        3. What did not finish is rejected with `Shutdown`: it goes out again now, not when a
           lease ends, and is not charged for it.
        4. The outcomes are awaited: a result that was sent and not confirmed may be lost with
           the connection, and would be computed again.

        Then the connection closes, and the engine stops last, because it was needed until 2.
        """
        log.info("Leaving: %d held, %g s to finish them.", self.held, self._grace_s)
        self._set_window()

        # Should the connection end for good meanwhile, there is nobody left to finish for.
        waits = [asyncio.create_task(event.wait()) for event in (self._idle, self._at_once)]
        await asyncio.wait(
            [*waits, serving], timeout=self._grace_s, return_when=asyncio.FIRST_COMPLETED
        )
        for wait in waits:
            wait.cancel()

        for running in list(self._running.values()):
            self._cancel(running)
            self._give_back(running.delivery, "the worker is leaving")

        confirm_s = CONFIRM_AT_ONCE_S if self._at_once.is_set() else CONFIRM_S
        if left := await self._outbox.wait_empty(confirm_s):
            log.warning("Left without the outcome of %d answers.", left)

    async def _stop(self) -> None:
        self._spared.stop()
        await self._rest.stop()
        for running in list(self._running.values()):
            self._cancel(running)
        if self.connection is not None:
            await self.connection.close()
        await self.engine.stop(0.0 if self._at_once.is_set() else ENGINE_STOP_S)
        log.info("Left.")
