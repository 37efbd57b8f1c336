"""A private thread with an event loop that runs the asyncio client for the blocking one.

A blocking watch needs a thread anyway: it must send pings and receive frames while the caller's
loop body computes for a minute.
"""

import asyncio
import atexit
import concurrent.futures
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from client_sdk import errors
from client_sdk.client import AsyncQueueClient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Running:
    loop: asyncio.AbstractEventLoop
    client: AsyncQueueClient
    thread: threading.Thread


class LoopThread:
    """Runs coroutines in its own thread and waits for them.

    The thread and the client start with the first call.  A forked child inherits neither; its first
    call starts new ones, with a new uid unless one was given.
    """

    def __init__(self, make_client: Callable[[], AsyncQueueClient]) -> None:
        self._make_client = make_client
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._of_parent: _Running | None = None
        self._closed = False
        if hasattr(os, "register_at_fork"):
            here = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forget_in_child(here))

    def run(self, call: Callable[[AsyncQueueClient], Awaitable[T]]) -> T:
        """Call with the client, in the thread, and return the awaited result.

        Raises Closed after `close`, and RuntimeError inside a running event loop, which this call
        would block.
        """
        refuse_running_loop()
        # Under the lock, so that `close` comes either before, and raises here, or after, and then
        # finds this call among those that it ends.
        with self._lock:
            running = self._started()
            future = asyncio.run_coroutine_threadsafe(_awaited(call, running.client), running.loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise errors.Closed("this client was closed") from None
        except BaseException:
            # Ctrl-C interrupts only the waiting; the call itself must not keep running.
            future.cancel()
            raise

    def iterate(self, begin: Callable[[AsyncQueueClient], AsyncGenerator[T, None]]) -> Iterator[T]:
        """Yield what an async generator of the client yields."""
        made: list[AsyncGenerator[T, None]] = []

        async def first(client: AsyncQueueClient) -> T:
            made.append(begin(client))
            return await anext(made[0])

        try:
            try:
                yield self.run(first)
                while True:
                    yield self.run(lambda client: anext(made[0]))
            except StopAsyncIteration:
                return
        finally:
            if made:
                self.run(lambda client: made[0].aclose())

    def close(self) -> None:
        """Close the client, end calls of other threads, end the thread.

        A second call does nothing.
        """
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        atexit.unregister(self.close)
        if running is not None:
            asyncio.run_coroutine_threadsafe(running.client.close(), running.loop).result()
            running.loop.call_soon_threadsafe(running.loop.stop)
            running.thread.join()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the thread; None before the first call, after a fork, and after `close`."""
        return None if self._running is None else self._running.loop

    def forget_in_child(self) -> None:
        """Reset after a fork: the thread and its connections exist only in the parent.

        The copies of the parent's objects are kept alive on purpose: collecting them would close
        sockets and warn about a session that the parent still uses.
        """
        self._of_parent, self._running = self._running, None
        # Another thread of the parent may have held the lock; it cannot release it here.
        self._lock = threading.Lock()

    def _started(self) -> _Running:
        if self._closed:
            raise errors.Closed("this client was closed")
        if self._running is None:
            # First, because it raises for a bad address or file, and a loop would need closing.
            client = self._make_client()
            loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_serve, args=(loop,), name="penstock client", daemon=True
            )
            self._running = _Running(loop, client, thread)
            thread.start()
            # For clients that were never closed: end the connections in order.
            atexit.register(self.close)
        return self._running


def refuse_running_loop() -> None:
    """Raise RuntimeError when called from a coroutine."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("QueueClient would block the running event loop: use AsyncQueueClient here")


async def _awaited(call: Callable[[AsyncQueueClient], Awaitable[T]], client: AsyncQueueClient) -> T:
    return await call(client)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _forget_in_child(here: "weakref.ref[LoopThread]") -> None:
    thread = here()
    if thread is not None:
        thread.forget_in_child()
