"""The thread of the user's code: it imports the code, runs its setup, and has its event loop.

In an engine's process it is the main thread, as in a script, so `signal.signal`, `asyncio.run` and
`asyncio.get_event_loop` work.  Another thread handles the messages of the supervisor, so that a
long setup does not block them.

    import, setup -> calls, one after the other        an engine with one job at a time
    import, setup -> the event loop, for ever          other engines; sync calls run in a pool
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

from inference_worker.engines.locate import last_line

#: Called with a function that cancels a coroutine, from any thread, once the coroutine runs.
NoteCancel = Callable[[Callable[[], object]], None]


def _nobody_cancels(cancel: Callable[[], object]) -> None:
    """Ignore it: this coroutine is never cancelled."""


class UserThread(ABC):
    """The thread and the event loop of a user's code.

    executor: runs calls in that thread.
    """

    executor: Executor

    @property
    @abstractmethod
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the code's coroutines run."""

    @abstractmethod
    def run_loop(self) -> None:
        """Run the event loop from now on; `executor` accepts no more calls."""

    @abstractmethod
    async def settle(self, value: Any) -> Any:
        """Return the value; if it is awaitable, await it on the code's loop first."""

    def finish(
        self, coroutine: Coroutine[Any, Any, Any], *, note: NoteCancel = _nobody_cancels
    ) -> Any:
        """Run a coroutine on the code's loop and wait; only in a thread without a running loop."""
        return asyncio.run_coroutine_threadsafe(_noted(coroutine, note), self.loop).result()

    def stop(self) -> None:
        """Accept no more calls."""
        self.executor.shutdown(wait=False, cancel_futures=True)


class PoolThread(UserThread):
    """The thread for an engine that runs in the worker's own process."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._loop = asyncio.get_running_loop()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def run_loop(self) -> None:
        """End the thread; the loop is already running."""
        self.executor.shutdown(wait=False)

    async def settle(self, value: Any) -> Any:
        return await value if is_awaitable(value) else value


class MainThread(UserThread, Executor):
    """The main thread of this process; it must call `serve`."""

    def __init__(self) -> None:
        self.executor = self
        self._loop = asyncio.new_event_loop()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._has_loop = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        # A setup may have closed the loop that it got from `asyncio.get_event_loop()`.
        if self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        return self._loop

    def serve(self) -> None:
        """Run calls for ever; call it in the main thread."""
        while True:
            future, call = self._calls.get()
            if not future.set_running_or_notify_cancel():
                continue
            # `asyncio.run` leaves the thread without a loop, so set one before every call.
            asyncio.set_event_loop(self.loop)
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
                # Otherwise this frame would keep the error, and all objects in its traceback,
                # alive.
                del error
            else:
                future.set_result(result)
            del future, call

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call this in the main thread."""
        future: Future[Any] = Future()
        self._calls.put((future, partial(fn, *args, **kwargs)))
        return future

    def run_loop(self) -> None:
        self._has_loop = True
        self.submit(self.loop.run_forever)

    async def settle(self, value: Any) -> Any:
        if not is_awaitable(value):
            return value
        if self._has_loop:
            running = asyncio.run_coroutine_threadsafe(_awaited(value), self.loop)
        else:
            running = self.submit(self.loop.run_until_complete, _awaited(value))
        return await asyncio.wrap_future(running)

    def finish(
        self, coroutine: Coroutine[Any, Any, Any], *, note: NoteCancel = _nobody_cancels
    ) -> Any:
        if threading.current_thread() is threading.main_thread():
            return self.loop.run_until_complete(_noted(coroutine, note))
        return super().finish(coroutine, note=note)

    def stop(self) -> None:
        """Do nothing: the process ends."""


class LoopTask:
    """A coroutine on the event loop of the user's code, controlled from another loop."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._loop = loop
        self._home = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        loop.call_soon_threadsafe(self._start, coroutine)

    async def cancel(self) -> None:
        """Cancel it, and wait until it has ended."""
        self._loop.call_soon_threadsafe(self._cancel)
        await self._ended.wait()

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._done)

    def _cancel(self) -> None:
        # `_start` has run: both were scheduled on this loop in that order.
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        if not self._home.is_closed():
            self._home.call_soon_threadsafe(self._ended.set)


def is_awaitable(value: Any) -> bool:
    """Return whether a value must be awaited; generators yield results and are not awaited."""
    return hasattr(type(value), "__await__")


async def _awaited(value: Any) -> Any:
    """Await it, and replace a SystemExit or KeyboardInterrupt, which would end the loop."""
    try:
        return await value
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(last_line(error)) from error


async def _noted(coroutine: Coroutine[Any, Any, Any], note: NoteCancel) -> Any:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None, "awaited outside of a task"
    note(lambda: loop.is_closed() or loop.call_soon_threadsafe(task.cancel))
    return await _awaited(coroutine)
