"""The doorbell: "look again".

A ring carries no data: what is there to be delivered is the store's to say, and two truths
would be one too many.  Redis pub/sub may lose a ring, so the bell also rings whenever its
connection is made anew and on a slow tick: a lost ring costs a tick, never a hang.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError, RedisError

from queue_service.store.cancellation import notice_cancellation
from queue_service.store.servers import Servers

log = logging.getLogger(__name__)

#: What a channel says after the role when windows may have opened by another replica's doing.
WINDOWS = "windows"

#: How long to wait before the channels are listened to again, in seconds.
RECONNECT_S = 0.2

#: Silence after which a connection is asked for a sign of life, and after twice which it is made
#: anew, in seconds: the machine at its other end may be gone without a word.
SILENCE_S = 3.0


class Doorbell:
    """One queue's bell in one process; any number of listeners."""

    def __init__(self) -> None:
        #: How often it rang; a listener waits for this to pass what it has seen.
        self.rings = 0
        #: True when the store may know of more room than the copies of windows here.
        self.windows_changed = False
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self, *, windows_changed: bool = False) -> None:
        """Wake every listener."""
        self.rings += 1
        self.windows_changed |= windows_changed
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, seen: int, *, timeout_s: float | None = None) -> int:
        """Return the number of rings as soon as it is above `seen`, or at the timeout."""
        if self.rings > seen:
            return self.rings
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            if timeout_s is None:
                await future
            else:
                await asyncio.wait((future,), timeout=timeout_s)
        finally:
            self._waiting.discard(future)
            future.cancel()
        return self.rings


class Wire:
    """Carries rings between the processes, over one pub/sub connection in each.

    bells: by channel, then by role; after a change call `listen_anew`.
    """

    def __init__(
        self, servers: Servers, bells: Mapping[str, Mapping[str, Doorbell]], *, tick_s: float
    ) -> None:
        self._servers = servers
        self._bells = bells
        self._tick_s = tick_s
        self._listening: asyncio.Task[None] | None = None

    def listen_anew(self) -> None:
        """The channels have changed: listen to those that there are now."""
        if self._listening is not None:
            self._listening.cancel()

    async def run(self) -> None:
        """Listen for ever; every tick and every new connection rings all bells."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self._listen_again_and_again())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            self._ring_all()

    async def _listen_again_and_again(self) -> None:
        while True:
            listening = self._listening = asyncio.create_task(self._listen())
            try:
                await asyncio.wait((listening,))
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
            if listening.cancelled():
                # The channels have changed: nothing is wrong, so there is nothing to wait for.
                continue
            error = listening.exception()
            if not isinstance(error, RedisError | OSError):
                raise error or RuntimeError("the doorbells' connection ended without an error")
            log.debug("The doorbells' connection is gone: %s", error)
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        pool = await self._servers.any_pool()
        pubsub = PubSub(pool, ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(*self._bells)
            self._ring_all()
            heard_at = time.monotonic()
            while True:
                message = await pubsub.get_message(timeout=min(self._tick_s, SILENCE_S))
                notice_cancellation()
                if message is not None:
                    heard_at = time.monotonic()
                    self._take(message)
                elif (silence_s := time.monotonic() - heard_at) > 2 * SILENCE_S:
                    raise ConnectionError(f"nothing was heard for {silence_s:.1f} s")
                elif silence_s > SILENCE_S:
                    await pubsub.ping()
        except (RedisError, OSError):
            await self._servers.doubt(pool)
            raise
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _take(self, message: Mapping[str, Any]) -> None:
        if message["type"] != "message":
            return
        role, _, what = message["data"].decode().partition(" ")
        bell = self._bells.get(message["channel"].decode(), {}).get(role)
        if bell is not None:
            bell.ring(windows_changed=what == WINDOWS)

    def _ring_all(self) -> None:
        for by_role in list(self._bells.values()):
            for bell in by_role.values():
                bell.ring(windows_changed=True)
