"""One job while a user's code has it.

The code decides how its output comes: as a value, a generator, a coroutine, an async generator,
or one of these out of another.  A decorator or a `__call__` can hide which until it was called.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

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
from inference_worker.engines.payload import Pieces
from inference_worker.engines.shape import Shape
from inference_worker.engines.user_thread import (
    LoopTask,
    MainThread,
    UserThread,
    is_awaitable,
)


class Call:
    """One job: what is known of it, and what is reported of it from any thread."""

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
        self.context = Context(
            job, report=self.report, cancelled=self.cancelled.is_set, device=device
        )

    def cancel(self) -> None:
        """Let the code know that nobody wants the result."""
        self.cancelled.set()
        self._cancel_coroutine()

    def report(self, event: Event) -> None:
        """Pass on an event, from any thread."""
        # A thread that outlives a cancelled job may find the loop closed; nobody listens then.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.events.put_nowait, event)

    def run(self) -> None:
        """Run it in this thread.  Nothing is raised, because nobody looks at its future."""
        if self.cancelled.is_set():
            return
        self.report(Started())
        payload: Any = None
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
        self.report(end)

    async def run_on_loop(self) -> None:
        """Run it on the loop of the user's code."""
        self.report(Started())
        payload: Any = None
        try:
            payload = self._shape.read(self.job)
            if is_awaitable(payload):
                payload = await payload
            end = await self._end_of_output(self._shape.predict(payload, self.context))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self.cancelled.is_set():
                raise
            # SystemExit would end the process, and the CancelledError of something that the code
            # itself waits for would end the job without a word.
            end = self.end_of(error)
        finally:
            self._shape.forget(payload)
        self.report(end)

    def end_of(self, error: BaseException) -> Failed:
        """Return what an exception of the code means for this job."""
        if isinstance(error, Cancelled) and self.cancelled.is_set():
            return Failed("Cancelled", "nobody wants the result")
        return failure_of(error)

    async def _end_of_output(self, output: Any) -> Finished | Failed:
        while is_awaitable(output):
            output = await output
        if inspect.isgenerator(output):
            return self._end_of_generator(output)
        if not inspect.isasyncgen(output):
            return self._end_of_value(output)
        pieces = Pieces()
        async for piece in output:
            if failed := self._pass_on(piece, pieces):
                await output.aclose()
                return failed
            # One that never waits would keep the loop from hearing of a cancel.
            await asyncio.sleep(0)
        return self._shape.finish(pieces)

    def _end_of_value(self, output: Any) -> Finished | Failed:
        if self._shape.refreshes(output):
            self._refresh()
        return self._shape.write(output)

    def _end_of_generator(self, output: Any) -> Finished | Failed:
        pieces = Pieces()
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
        # Without a process of its own there is none to replace.
        if isinstance(self._user, MainThread):
            self.report(Refresh())

    def _note_cancel(self, cancel: Callable[[], object]) -> None:
        self._cancel_coroutine = cancel
        if self.cancelled.is_set():
            cancel()
