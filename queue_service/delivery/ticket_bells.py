"""The bells of one service's tickets: one for each request that is followed, and two for all."""

import asyncio
from collections.abc import Iterable
from weakref import WeakValueDictionary

from queue_service.delivery.doorbell import Doorbell
from queue_service.store.outcomes import Expired


class TicketBells:
    """The bells of one service's tickets in one process.

    stops: rings when workers must stop deliveries.  due: rings when the time of a ticket may have
    come.  A tick rings neither.  Each look at the leases reads both counts in the store and rings
    again, so a lost ring costs the time until the next look.
    files: rings when payload files are not needed any more, and after each new connection, because
    rings before it may have been lost.
    webhooks: rings when the outbox of webhooks has something new, and after each new connection.
    interfaces: rings when a worker with another schema has connected; who listens looks after some
    time anyway.
    """

    def __init__(self) -> None:
        # A bell exists while a follower holds it, so following a request needs no clean-up.
        self._of_requests: WeakValueDictionary[str, Doorbell] = WeakValueDictionary()
        self._of_ends: WeakValueDictionary[str, Doorbell] = WeakValueDictionary()
        self.stops = Doorbell()
        self.due = Doorbell()
        self.files = Doorbell()
        self.interfaces = Doorbell()
        self.webhooks = Doorbell()
        self._due_timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many requests are followed."""
        return len({*self._of_requests, *self._of_ends})

    def of(self, request_id: str) -> Doorbell:
        """Return the bell of a request, which rings as long as the caller keeps it."""
        return _bell_in(self._of_requests, request_id)

    def of_end(self, request_id: str) -> Doorbell:
        """Return the same for those who wait for its end alone: rings when it may have come."""
        return _bell_in(self._of_ends, request_id)

    def ring(self, request_ids: Iterable[str], *, open: bool = False) -> None:
        """Wake the followers of these requests.

        open: none of them has ended.  Beyond that a ring says nothing: followers look in the store.
        """
        for bells in (self._of_requests,) if open else (self._of_requests, self._of_ends):
            for request_id in request_ids:
                if (bell := bells.get(request_id)) is not None:
                    bell.ring()

    def ring_all(self) -> None:
        """Wake the followers of every request: a ring may have been lost."""
        for bells in (self._of_requests, self._of_ends):
            for bell in list(bells.values()):
                bell.ring()

    def announce(self, looked: Expired) -> None:
        """Ring for what a look at the leases has read about the tickets."""
        if looked.stops:
            self.stops.ring()
        if looked.due_ms is not None:
            self.ring_due_in(looked.due_ms)

    def ring_due_in(self, wait_ms: int) -> None:
        """Ring `due` after this time, or earlier if that was announced before."""
        loop = asyncio.get_running_loop()
        # A millisecond more, so that the time has come when the store is asked.
        at = loop.time() + (wait_ms + 1) / 1000
        if self._due_timer is not None:
            if self._due_timer.when() <= at:
                return
            self._due_timer.cancel()
        self._due_timer = loop.call_at(at, self._ring_due)

    def _ring_due(self) -> None:
        self._due_timer = None
        self.due.ring()


def _bell_in(bells: "WeakValueDictionary[str, Doorbell]", request_id: str) -> Doorbell:
    bell = bells.get(request_id)
    if bell is None:
        bell = bells[request_id] = Doorbell()
    return bell
