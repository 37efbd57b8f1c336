"""A worker: connect -> admit -> run -> complete.

The engine's capacity is the window, and the window is the whole of the back-pressure: the queue
service never hands out more, so there is no queue in here.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable

from client_sdk.errors import QueueError
from client_sdk.wire import codes, names
from client_sdk.wire.worker import Completion, Delivery, Outcome, Rejection
from client_sdk.work import Lost, WorkConnection
from inference_worker.answers import Answer, answer_to, cut_short
from inference_worker.engines.engine import (
    RESULT_TOO_BIG,
    Context,
    Engine,
    Failed,
    Finished,
    Job,
    Progress,
)
from inference_worker.metrics import Metrics

#: How long answers may wait for their outcome when the worker leaves, in seconds.
CONFIRM_S = 3.0
#: The same when it was told a second time to leave.
CONFIRM_AT_ONCE_S = 0.5
#: How long the engine may take to stop once nothing runs in it, in seconds.
ENGINE_STOP_S = 5.0

log = logging.getLogger(__name__)


class _Running:
    """One job that runs here, and the newest delivery that its answer is for."""

    __slots__ = ("began_at", "delivery", "task")

    def __init__(self, delivery: Delivery, began_at: float) -> None:
        self.delivery = delivery
        self.began_at = began_at
        self.task: asyncio.Task[None] | None = None


class Worker:
    """Runs the jobs of one service on one engine.

    connect: makes the connection for a window; it is called once, when the engine is ready.
    """

    def __init__(
        self,
        engine: Engine,
        connect: Callable[[int], WorkConnection],
        *,
        metrics: Metrics,
        grace_s: float,
    ) -> None:
        self.engine = engine
        self.connection: WorkConnection | None = None
        self._connect = connect
        self._metrics = metrics
        self._grace_s = grace_s
        self._running: dict[int, _Running] = {}
        self._unconfirmed: set[asyncio.Future[Outcome]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._leaving = asyncio.Event()
        self._at_once = asyncio.Event()
        metrics.held.set_function(lambda: len(self._running))

    @property
    def held(self) -> int:
        """How many deliveries run here now."""
        return len(self._running)

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

    async def _load(self, leaving: asyncio.Task[bool]) -> bool:
        """Load the engine and connect; return False when the worker was told to leave first."""
        log.info("The engine %s is loading.", self.engine.name)
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        loading = asyncio.create_task(self.engine.start(Context(report=_log_loading, log=log)))
        await asyncio.wait({loading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            return False
        loading.result()
        log.info("The engine is ready after %.1f s.", loop.time() - began_at)

        # Only now, because a worker that subscribes before it can compute would hold entries
        # that others have room for.
        self.connection = self._connect(self.engine.capacity)
        self.engine.changed = self._engine_changed
        self._metrics.window.set(self.engine.capacity)
        self.connection.start()
        return True

    async def _serve(self) -> None:
        assert self.connection is not None, "serve before load"
        await self.connection.wait_connected()
        log.info("Connected, with a window of %d.", self.engine.capacity)
        async for event in self.connection:
            if isinstance(event, Lost):
                self._lose(event)
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
            return
        if self._leaving.is_set():
            # It was on its way when the window became 0.
            self._end(delivery, Failed(codes.SHUTDOWN, "the worker is leaving"))
            return
        job = _job_of(delivery)
        if end := self.engine.run_now(job):
            self._end(delivery, end)
            return
        running = _Running(delivery, asyncio.get_running_loop().time())
        self._running[delivery.index] = running
        self._idle.clear()
        running.task = asyncio.create_task(self._run(running, job))

    async def _run(self, running: _Running, job: Job) -> None:
        end: Finished | Failed = Failed("EngineDefect", "the engine ended without an answer")
        try:
            async with contextlib.aclosing(self.engine.run(job)) as events:
                async for event in events:
                    # Pieces and progress pass by: what this connection carries is results.
                    if isinstance(event, Finished | Failed):
                        end = event
                        break
        except Exception as error:
            log.exception("The engine raised while it ran %s.", job.request_id)
            end = Failed("EngineDefect", repr(error))
        finally:
            self._forget(running)
        now = asyncio.get_running_loop().time()
        self._metrics.run_seconds.observe(now - running.began_at)
        self._end(running.delivery, end)

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

    def _cancel(self, running: _Running) -> None:
        # Forgotten at once and not when the task has ended, so that a redelivery that comes
        # meanwhile is run anew instead of waiting for a job that will never answer.
        self._forget(running)
        if running.task is not None:
            running.task.cancel()

    def _forget(self, running: _Running) -> None:
        if self._running.get(running.delivery.index) is running:
            del self._running[running.delivery.index]
            if not self._running:
                self._idle.set()

    def _engine_changed(self) -> None:
        capacity = self.engine.capacity
        if not capacity:
            self._metrics.engine_deaths.inc()
        if self.connection is not None and not self._leaving.is_set():
            self._metrics.window.set(capacity)
            self.connection.set_window(capacity)
            log.info("The window is %d now, as the engine's capacity.", capacity)

    # --- Answering

    def _end(self, delivery: Delivery, end: Finished | Failed) -> None:
        answer = answer_to(delivery, end)
        match answer:
            case Rejection(code=code, reason=reason):
                self._metrics.rejections.labels(code).inc()
                log.info("%s is rejected with %s: %s", delivery.request_id, code, reason)
            case Completion(result=None):
                self._metrics.without_result.inc()
            case _ if isinstance(end, Failed):
                self._metrics.with_error.inc()
                log.warning(
                    "%s is answered with its error after attempt %d, %s: %s",
                    delivery.request_id,
                    delivery.attempt,
                    end.code,
                    end.message,
                )
            case _:
                self._metrics.with_result.inc()
        self._answer(delivery, answer)

    def _answer(self, delivery: Delivery, answer: Answer) -> None:
        assert self.connection is not None, "an answer before the connection"
        try:
            outcome = self.connection.answer(answer)
        except QueueError:
            # The connection has ended for good, and `_serve` is told why.  What this worker held
            # goes out again, so there is nobody to answer to.
            return
        self._unconfirmed.add(outcome)
        outcome.add_done_callback(functools.partial(self._confirmed, delivery, answer))

    def _confirmed(
        self, delivery: Delivery, answer: Answer, outcome: asyncio.Future[Outcome]
    ) -> None:
        self._unconfirmed.discard(outcome)
        if outcome.cancelled() or outcome.exception() is not None:
            # As above: the connection has ended, and the entry goes out again.
            return
        said = outcome.result()
        if said.accepted:
            return
        self._metrics.refused.labels(said.code).inc()
        log.warning(
            "The answer to delivery %d of %s was refused: %s",
            answer.attempt,
            delivery.request_id,
            said.code,
        )
        if said.code == codes.Code.FRAME_TOO_BIG and _is_result(answer):
            # No retry makes it smaller, so the client gets the reason in its place.
            failed = Failed(RESULT_TOO_BIG, "the result is too big for the sink", retryable=False)
            self._end(delivery, failed)
        elif said.code == codes.Code.FRAME_TOO_BIG and (shorter := cut_short(answer)):
            self._answer(delivery, shorter)

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
        assert self.connection is not None, "drain before load"
        log.info("Leaving: %d held, %g s to finish them.", self.held, self._grace_s)
        self._metrics.window.set(0)
        self.connection.set_window(0)

        # Should the connection end for good meanwhile, there is nobody left to finish for.
        waits = [asyncio.create_task(event.wait()) for event in (self._idle, self._at_once)]
        await asyncio.wait(
            [*waits, serving], timeout=self._grace_s, return_when=asyncio.FIRST_COMPLETED
        )
        for wait in waits:
            wait.cancel()

        for running in list(self._running.values()):
            self._cancel(running)
            self._end(running.delivery, Failed(codes.SHUTDOWN, "the worker is leaving"))

        confirm_s = CONFIRM_AT_ONCE_S if self._at_once.is_set() else CONFIRM_S
        if self._unconfirmed:
            await asyncio.wait(set(self._unconfirmed), timeout=confirm_s)
        if self._unconfirmed:
            log.warning("Left without the outcome of %d answers.", len(self._unconfirmed))

    async def _stop(self) -> None:
        for running in list(self._running.values()):
            self._cancel(running)
        if self.connection is not None:
            await self.connection.close()
        await self.engine.stop(0.0 if self._at_once.is_set() else ENGINE_STOP_S)
        log.info("Left.")


def _job_of(delivery: Delivery) -> Job:
    return Job(
        request_id=delivery.request_id,
        data=delivery.data,
        tags=delivery.tags,
        attempt=delivery.attempt,
        last_attempt=delivery.last_attempt,
        path=delivery.path,
        content_type=delivery.content_type,
    )


def _is_result(answer: Answer) -> bool:
    return (
        isinstance(answer, Completion)
        and answer.result is not None
        and names.ERROR_CODE_TAG not in answer.result.tags
    )


def _log_loading(progress: Progress) -> None:
    log.info("Loading, %d %%. %s", progress.fraction * 100, progress.note)
