"""Where a user's code runs: the thread that imports it and sets it up, and its event loop.

In an engine's process that is the main thread, as in a script: `signal.signal`, `asyncio.run` and
`asyncio.get_event_loop` work there.  The messages of the supervisor are then handled by another
thread, so that a setup that takes minutes does not keep them waiting.

    import, setup -> calls, one after the other        an engine that takes one job at a time
    import, setup -> the event loop, for ever          every other one; its threads are a pool
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

#: Is given what cancels a coroutine, callable from any thread, once it runs.
NoteCancel = Callable[[Callable[[], object]], None]


def _nobody_cancels(cancel: Callable[[], object]) -> None:
    """Take what cancels a coroutine that is never cancelled."""


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
        """Run the loop from now on; `executor` takes no calls any more."""

    @abstractmethod
    async def settle(self, value: Any) -> Any:
        """Return the value, awaited on the code's loop when it is awaitable."""

    def finish(
        self, coroutine: Coroutine[Any, Any, Any], *, note: NoteCancel = _nobody_cancels
    ) -> Any:
        """Wait, in a thread without a running loop, until the coroutine has ended."""
        return asyncio.run_coroutine_threadsafe(_noted(coroutine, note), self.loop).result()

    def stop(self) -> None:
        """Take no calls any more."""
        self.executor.shutdown(wait=False, cancel_futures=True)


class PoolThread(UserThread):
    """A thread beside the event loop of a worker that runs its engine in its own process."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._loop = asyncio.get_running_loop()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def run_loop(self) -> None:
        """Let the thread go; the loop runs already."""
        self.executor.shutdown(wait=False)

    async def settle(self, value: Any) -> Any:
        return await value if is_awaitable(value) else value


class MainThread(UserThread, Executor):
    """The main thread of this process, once it is in `serve`."""

    def __init__(self) -> None:
        self.executor = self
        self._loop = asyncio.new_event_loop()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._has_loop = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        # A setup may have closed the loop that `asyncio.get_event_loop()` gave it.
        if self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        return self._loop

    def serve(self) -> None:
        """Run calls for ever; belongs to the main thread."""
        while True:
            future, call = self._calls.get()
            if not future.set_running_or_notify_cancel():
                continue
            # `asyncio.run` leaves the thread without a loop; the next call finds one again.
            asyncio.set_event_loop(self.loop)
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
                # Otherwise this frame would keep the error, and all that it refers to, alive.
                del error
            else:
                future.set_result(result)
            del future, call

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have the main thread call this."""
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
    """A coroutine that runs on the loop of a user's code, seen from another loop."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._loop = loop
        self._home = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        loop.call_soon_threadsafe(self._start, coroutine)

    async def cancel(self) -> None:
        """Cancel it, and return once nothing of it runs any more."""
        self._loop.call_soon_threadsafe(self._cancel)
        await self._ended.wait()

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._done)

    def _cancel(self) -> None:
        # After `_start`, because both came to this loop in that order.
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        if not self._home.is_closed():
            self._home.call_soon_threadsafe(self._ended.set)


def is_awaitable(value: Any) -> bool:
    """Say whether a value has to be awaited; generators, which yield results, are not."""
    return hasattr(type(value), "__await__")


async def _awaited(value: Any) -> Any:
    """Await it, and let nothing but an Exception out: a loop ends with anything else."""
    try:
        return await value
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(last_line(error)) from error


async def _noted(coroutine: Coroutine[Any, Any, Any], note: NoteCancel) -> Any:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None, "awaited outside of a task"
    note(lambda: loop.is_closed() or loop.call_soon_threadsafe(task.cancel))
    return await _awaited(coroutine)
