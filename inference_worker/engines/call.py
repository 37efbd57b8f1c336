"""One job in the user's code.

The code may return a value, a generator, a coroutine, an async generator, or one of these from
another.  A decorator or a `__call__` can hide which one until it was called.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from inference_worker.engines.artifacts import ArtifactWriter
from inference_worker.engines.captured_output import JobLogger
from inference_worker.engines.engine import (
    Cancelled,
    Context,
    Delta,
    Event,
    Failed,
    Finished,
    Job,
    Refresh,
    Started,
)
from inference_worker.engines.failures import failure_of
from inference_worker.engines.job_log import JobLog, attributed_to
from inference_worker.engines.payload import Pieces
from inference_worker.engines.shape import Shape
from inference_worker.engines.user_thread import (
    LoopTask,
    MainThread,
    UserThread,
    is_awaitable,
)


class Call:
    """One job, its state, and its events from any thread."""

    def __init__(self, job: Job, *, shape: Shape, user: UserThread, device: str) -> None:
        self.job = job
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.cancelled = threading.Event()
        self.future: Future[None] | None = None
        self.task: LoopTask | None = None
        self._shape = shape
        self._user = user
        self._loop = asyncio.get_running_loop()
        self._cancel_coroutine: Callable[[], object] = lambda: None
        self.log = JobLog(job.log_bytes, self.report, self._soon)
        log = JobLogger(self.log)
        self.context = Context(
            job,
            report=self.report,
            cancelled=self.cancelled.is_set,
            add_artifact=ArtifactWriter(job, self.report, log).add,
            log=log,
            device=device,
        )

    def cancel(self) -> None:
        """Tell the code that the job was cancelled."""
        self.cancelled.set()
        self._cancel_coroutine()

    def report(self, event: Event) -> None:
        """Pass on an event, from any thread."""
        # A thread may outlive its cancelled job, and find the loop closed; the event is dropped.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.events.put_nowait, event)

    def end(self, end: Finished | Failed) -> None:
        """Report the end, after the rest of the log."""
        self.log.close()
        self.report(end)

    def run(self) -> None:
        """Run it in this thread.  Never raises, because its future is not awaited."""
        if self.cancelled.is_set():
            return
        self.report(Started())
        with attributed_to(self.log):
            end = self._computed()
        self.end(end)

    def _computed(self) -> Finished | Failed:
        payload: Any = None
        end: Finished | Failed
        try:
            payload = self._shape.read(self.job)
            output = self._shape.predict(payload, self.context)
            if is_awaitable(output) or inspect.isasyncgen(output):
                end = self._user.finish(self._end_of_output(output), note=self._note_cancel)
            elif inspect.isgenerator(output):
                end = self._end_of_generator(output)
            else:
                end = self._end_of_value(output)
        except BaseException as error:
            end = self.end_of(error)
        self._shape.forget(payload)
        return end

    async def run_on_loop(self) -> None:
        """Run it on the event loop of the user's code."""
        self.report(Started())
        with attributed_to(self.log):
            end = await self._computed_on_loop()
        self.end(end)

    async def _computed_on_loop(self) -> Finished | Failed:
        payload: Any = None
        try:
            payload = self._shape.read(self.job)
            if is_awaitable(payload):
                payload = await payload
            end = await self._end_of_output(self._shape.predict(payload, self.context))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self.cancelled.is_set():
                raise
            # SystemExit would end the process.  A CancelledError that was not our cancel comes from
            # the code itself, and must become a failure like any other.
            end = self.end_of(error)
        finally:
            self._shape.forget(payload)
        return end

    def end_of(self, error: BaseException) -> Failed:
        """Return the failure for an exception of the code; its traceback goes to the log."""
        if isinstance(error, Cancelled) and self.cancelled.is_set():
            return Failed("Cancelled", "the job was cancelled")
        self.log.raised(error)
        return failure_of(error)

    async def _end_of_output(self, output: Any) -> Finished | Failed:
        while is_awaitable(output):
            output = await output
        if inspect.isgenerator(output):
            return self._end_of_generator(output)
        if not inspect.isasyncgen(output):
            return self._end_of_value(output)
        pieces = Pieces(converts=self._shape.converts)
        async for piece in output:
            if failed := self._pass_on(piece, pieces):
                await output.aclose()
                return failed
            # A generator that never awaits would block the loop, and a cancel could not arrive.
            await asyncio.sleep(0)
        return self._shape.finish(pieces)

    def _end_of_value(self, output: Any) -> Finished | Failed:
        if self._shape.refreshes(output):
            self._refresh()
        return self._shape.write(output)

    def _end_of_generator(self, output: Any) -> Finished | Failed:
        pieces = Pieces(converts=self._shape.converts)
        for piece in output:
            self.context.raise_if_cancelled()
            if failed := self._pass_on(piece, pieces):
                output.close()
                return failed
        return self._shape.finish(pieces)

    def _pass_on(self, piece: Any, pieces: Pieces) -> Failed | None:
        if self._shape.refreshes(piece):
            self._refresh()
        output = self._shape.piece(piece)
        if isinstance(output, Failed):
            return output
        if data := pieces.add(output):
            self.report(Delta(data))
        return None

    def _refresh(self) -> None:
        # Only an engine in a separate process can be replaced.
        if isinstance(self._user, MainThread):
            self.report(Refresh())

    def _soon(self, after_s: float, call: Callable[[], None]) -> None:
        if self._loop.is_closed():
            return
        if after_s:
            self._loop.call_soon_threadsafe(self._loop.call_later, after_s, call)
        else:
            self._loop.call_soon_threadsafe(call)

    def _note_cancel(self, cancel: Callable[[], object]) -> None:
        self._cancel_coroutine = cancel
        if self.cancelled.is_set():
            cancel()
