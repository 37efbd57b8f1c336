"""Receives the rings of Redis: one pub/sub connection in each process."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError, RedisError

from client_sdk.cancellation import notice_cancellation
from queue_service.delivery.doorbell import Doorbell
from queue_service.delivery.ticket_bells import TicketBells
from queue_service.store.interfaces import INTERFACES
from queue_service.store.servers import Servers

log = logging.getLogger(__name__)

#: A message is the name of a bell, such as a queue's role, and may have another word behind it.
#: This one says that the windows of subscribers may have opened in another process.
WINDOWS = "windows"

#: This one says that workers must stop deliveries.
STOPS = "stops"
#: A message that begins with this word names requests that may be followed.
EVENTS = "events"
#: Its last word, if none of them has ended.
OPEN = "\x1dopen"
#: This message says that some payload files are not needed any more.
FILES = "files"
#: This one says that the outbox of webhooks has something new, or that one is to be sent again.
WEBHOOKS = "webhooks"

#: How often the followers of requests look without a ring, in seconds.  Only a cluster or a
#: failover can lose a ring while the connection stays, and thousands may follow.
FOLLOWERS_S = 60.0

#: How long to wait before subscribing to the channels again, in seconds.
RECONNECT_S = 0.2

#: After this much silence the connection is asked for a sign of life, after twice as much it is
#: replaced, in seconds: the machine at its other end may have disappeared without closing it.
SILENCE_S = 3.0


class RingListener:
    """Rings the bells of this process when any process rings in Redis.

    bells: by channel, then by name.  ticket_bells: by channel.  Call `change_channels` after a
    change of either.
    """

    def __init__(
        self,
        servers: Servers,
        bells: Mapping[str, Mapping[str, Doorbell]],
        ticket_bells: Mapping[str, TicketBells],
        *,
        tick_s: float,
    ) -> None:
        self._servers = servers
        self._bells = bells
        self._ticket_bells = ticket_bells
        self._tick_s = tick_s
        self._listening: asyncio.Task[None] | None = None

    def change_channels(self) -> None:
        """Listen to the channels that there are now."""
        if self._listening is not None:
            self._listening.cancel()

    async def run(self) -> None:
        """Listen until cancelled.

        Pub/sub loses the rings that arrive while there is no connection, and says nothing.  So each
        tick and each new connection rings every bell, except the two of all tickets.  Those of
        single requests ring only every FOLLOWERS_S, so that idle followers cost Redis nothing.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self._keep_listening())

    async def _tick(self) -> None:
        followers_at = time.monotonic()
        while True:
            await asyncio.sleep(self._tick_s)
            self._ring_queues()
            if time.monotonic() - followers_at >= FOLLOWERS_S:
                followers_at = time.monotonic()
                self._ring_followers()

    async def _keep_listening(self) -> None:
        while True:
            listening = self._listening = asyncio.create_task(self._listen())
            try:
                await asyncio.wait((listening,))
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
            if listening.cancelled():
                # The channels have changed.  The connection is fine, so there is no pause.
                continue
            error = listening.exception()
            if not isinstance(error, RedisError | OSError):
                raise error or RuntimeError("the connection for rings ended without an error")
            log.debug("The connection for rings was lost: %s", error)
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        pool = await self._servers.any_pool()
        pubsub = PubSub(pool, ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(*self._bells)
            self._ring_all()
            for ticket_bells in list(self._ticket_bells.values()):
                ticket_bells.files.ring()
                ticket_bells.webhooks.ring()
            heard_at = time.monotonic()
            while True:
                message = await pubsub.get_message(timeout=min(self._tick_s, SILENCE_S))
                notice_cancellation()
                if message is not None:
                    heard_at = time.monotonic()
                    self._ring(message)
                elif (silence_s := time.monotonic() - heard_at) > 2 * SILENCE_S:
                    raise ConnectionError(f"no message for {silence_s:.1f} s")
                elif silence_s > SILENCE_S:
                    await pubsub.ping()
        except (RedisError, OSError):
            await self._servers.doubt(pool)
            raise
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _ring(self, message: Mapping[str, Any]) -> None:
        if message["type"] != "message":
            return
        heard_on = message["channel"].decode()
        name, _, about = message["data"].decode().partition(" ")
        ticket_bells = self._ticket_bells.get(heard_on)
        if ticket_bells is not None and name == EVENTS:
            request_ids = about.split(" ")
            is_open = request_ids[-1] == OPEN
            ticket_bells.ring(request_ids[:-1] if is_open else request_ids, open=is_open)
        elif ticket_bells is not None and name == FILES:
            ticket_bells.files.ring()
        elif ticket_bells is not None and name == WEBHOOKS:
            ticket_bells.webhooks.ring()
        elif ticket_bells is not None and name == INTERFACES:
            ticket_bells.interfaces.ring()
        elif ticket_bells is not None and about == STOPS:
            ticket_bells.stops.ring()
        elif (bell := self._bells.get(heard_on, {}).get(name)) is not None:
            bell.ring(windows_changed=about == WINDOWS)

    def _ring_all(self) -> None:
        self._ring_followers()
        self._ring_queues()

    def _ring_followers(self) -> None:
        for ticket_bells in list(self._ticket_bells.values()):
            ticket_bells.ring_all()

    def _ring_queues(self) -> None:
        for by_name in list(self._bells.values()):
            for bell in by_name.values():
                bell.ring(windows_changed=True)
