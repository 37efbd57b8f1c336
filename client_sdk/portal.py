"""A private thread with an event loop, and the asyncio client that lives in it.

The synchronous client is a facade over the asynchronous one.  It needs a thread in any case:
pings go out and frames come in while the caller's own loop body computes for a minute.
"""

import asyncio
import atexit
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
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


class Portal:
    """Runs coroutines in a thread of its own and waits for them.

    The thread and the client start with the first call.  A forked child has neither: it gets
    its own, with a uid of its own unless one was given, at its first call.
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
        """Call with the client, in the thread, and return what it awaits.

        Raises Closed after `close`, and RuntimeError inside a running event loop, which would
        stand still meanwhile.
        """
        refuse_running_loop()
        # Under the lock, so that `close` comes either before, and is noticed here, or after,
        # and then finds this call among those it has to end.
        with self._lock:
            running = self._started()
            future = asyncio.run_coroutine_threadsafe(_awaited(call, running.client), running.loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise errors.Closed("this client was closed") from None
        except BaseException:
            # An interrupted caller (Ctrl-C) does not leave its call running behind it.
            future.cancel()
            raise

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
        """After a fork: the thread stayed in the parent, and so do the connections.

        The copies of the parent's objects are kept alive on purpose: collecting them would
        close sockets and warn about a session that the parent is still using.
        """
        self._of_parent, self._running = self._running, None
        # Another thread of the parent may have held the lock, and is not here to let it go.
        self._lock = threading.Lock()

    def _started(self) -> _Running:
        if self._closed:
            raise errors.Closed("this client was closed")
        if self._running is None:
            # First, because it raises for a bad address or file, and a loop has to be closed.
            client = self._make_client()
            loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_serve, args=(loop,), name="penstock client", daemon=True
            )
            self._running = _Running(loop, client, thread)
            thread.start()
            # A client that its owner forgot to close still leaves in an orderly way.
            atexit.register(self.close)
        return self._running


def refuse_running_loop() -> None:
    """Raise RuntimeError when called from a coroutine."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "QueueClient blocks, and an event loop is running here: use AsyncQueueClient here"
    )


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


def _forget_in_child(here: "weakref.ref[Portal]") -> None:
    portal = here()
    if portal is not None:
        portal.forget_in_child()
