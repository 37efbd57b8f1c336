"""The way of a ring from one process to the others: one pub/sub connection in each."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError, RedisError

from queue_service.delivery.doorbell import Doorbell
from queue_service.delivery.followers import Followers
from queue_service.store.cancellation import notice_cancellation
from queue_service.store.servers import Servers

log = logging.getLogger(__name__)

#: What a channel says after the role when windows may have opened by another replica's doing.
WINDOWS = "windows"

#: What a channel says after the role when workers have something to stop.
STOPS = "stops"
#: What a channel says before the names of requests that somebody may follow.
EVENTS = "events"

#: How long to wait before the channels are listened to again, in seconds.
RECONNECT_S = 0.2

#: Silence after which a connection is asked for a sign of life, and after twice which it is made
#: anew, in seconds: the machine at its other end may be gone without a word.
SILENCE_S = 3.0


class Wire:
    """Carries rings between the processes, over one pub/sub connection in each.

    bells: by channel, then by role; followers: by channel, whoever follows single requests.
    After a change of either call `listen_anew`.
    """

    def __init__(
        self,
        servers: Servers,
        bells: Mapping[str, Mapping[str, Doorbell]],
        followers: Mapping[str, Followers],
        *,
        tick_s: float,
    ) -> None:
        self._servers = servers
        self._bells = bells
        self._followers = followers
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
        heard_on = message["channel"].decode()
        role, _, what = message["data"].decode().partition(" ")
        followers = self._followers.get(heard_on)
        if followers is not None and role == EVENTS:
            followers.ring(what.split(" "))
        elif followers is not None and what == STOPS:
            followers.stops.ring()
        elif (bell := self._bells.get(heard_on, {}).get(role)) is not None:
            bell.ring(windows_changed=what == WINDOWS)

    def _ring_all(self) -> None:
        for followers in list(self._followers.values()):
            followers.ring_all()
        for by_role in list(self._bells.values()):
            for bell in by_role.values():
                bell.ring(windows_changed=True)
