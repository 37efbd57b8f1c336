"""Does what tickets need at a certain time: begin, expire, stop, forget.

Redis keeps the times and runs nothing by itself, so every process does what is due.  Doing it twice
changes nothing: a script takes each time from the store as it acts on it.
"""

import asyncio
import logging

from queue_service.delivery.dispatcher import STORE_PAUSE_S
from queue_service.delivery.ticket_bells import TicketBells
from queue_service.errors import StoreError, StoreUnavailable
from queue_service.service.queues import Queue
from queue_service.store.tickets import TicketStore

log = logging.getLogger(__name__)


class TicketTimers:
    """The timers of one service's tickets, in one process."""

    def __init__(self, queue: Queue, store: TicketStore, bells: TicketBells, *, gid: str) -> None:
        self._queue = queue
        self._store = store
        self._bells = bells
        self._gid = gid

    async def run(self) -> None:
        """Send stops to workers and do what is due, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_stopping())
            group.create_task(self._keep_doing_what_is_due())

    async def _keep_stopping(self) -> None:
        seen = 0
        while True:
            seen = await self._bells.stops.wait(seen)
            try:
                stops = await self._store.stops()
                self._queue.stop(self._gid, [stop for stop in stops if not stop.is_leave])
                leaving = [stop.uid for stop in stops if stop.is_leave]
                await self._queue.leave(self._gid, leaving)
            except StoreUnavailable:
                # The stops stay in the store, and the next look at the leases rings again.
                await asyncio.sleep(STORE_PAUSE_S)
            except StoreError:
                log.exception("Cannot read which deliveries workers must stop.")

    async def _keep_doing_what_is_due(self) -> None:
        seen = 0
        while True:
            seen = await self._bells.due.wait(seen)
            try:
                due = await self._store.due()
            except StoreUnavailable:
                # The next look at the leases rings again.
                await asyncio.sleep(STORE_PAUSE_S)
            except StoreError:
                log.exception("Cannot do what is due for tickets.")
            else:
                if due.done and due.wait_ms == 0:
                    # One call does a limited number of things, and there are more.
                    self._bells.due.ring()
                elif due.wait_ms is not None:
                    self._bells.ring_due_in(due.wait_ms)
