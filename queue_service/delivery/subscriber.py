"""A subscriber: one live connection with a window, and what is on its way to it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from queue_service.delivery.window import Window
from queue_service.store.entry import Delivery

#: What may be on its way to one subscriber before it is asked for no more, in bytes.  Its window
#: bounds the number of entries; this bounds their size, for one that reads slowly or nothing.
OUTBOX_BYTES = 8 * 1024 * 1024

#: From the end of a subscriber to the end of its connection, in seconds; most are closed sooner.
CUT_S = 2.0

#: Deliveries that were taken away lately and whose answers may still come.
MOST_TAKEN = 1000


class Ended(Enum):
    """Why a subscriber is served no more."""

    LEASE_LOST = auto()  # it was silent for too long, or the store has forgotten it
    TAKEN_OVER = auto()  # the same user connected again
    STOPPING = auto()  # this replica stops
    REVOKED = auto()  # its token is not valid any more
    SERVICE_STOPPED = auto()  # the service takes nothing until it is started again
    SERVICE_DELETED = auto()  # the service is gone
    STORE_LOST = auto()  # the store may have handed it what never came here


@dataclass(eq=False, slots=True)
class Subscriber:
    """One user of one group on one connection.

    session: this connection; the store knows the newest one of each (gid, uid).
    own_commits: True when nothing but this connection ends its deliveries, so that the window
        beside it is never behind the store's.
    ping: asks the other side for a sign of life.
    cut: ends the connection at once, whatever is still on its way.
    about: what attributes show of it.
    on_room: called when more may be put on its way, after there was too much of it.
    """

    gid: str
    uid: str
    session: str
    window: Window
    own_commits: bool
    ping: Callable[[], None]
    cut: Callable[[], None]
    about: dict[str, object] = field(default_factory=dict)
    last_heard: float = field(default_factory=time.monotonic)
    ended: Ended | None = None
    _outbox: deque[Delivery] = field(default_factory=deque)
    _taken: list[tuple[int, int]] = field(default_factory=list)
    _stops: list[tuple[int, int]] = field(default_factory=list)
    _told_to_stop: set[tuple[int, int]] = field(default_factory=set)
    _told_taken: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MOST_TAKEN))
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _about_changed: bool = False
    on_room: Callable[[], None] = lambda: None
    #: Of what was pushed: what waits here, and what `next_batch` has given to be written.
    _waiting_bytes: int = 0
    _leaving_bytes: int = 0

    def hear(self) -> None:
        """Note a sign of life."""
        self.last_heard = time.monotonic()

    def silence_s(self) -> float:
        """Seconds since the last sign of life."""
        return time.monotonic() - self.last_heard

    def describe(self, **about: object) -> None:
        """Note what is new about it; attributes show it from the next renewal on."""
        self.about.update(about)
        self._about_changed = True

    def take_news(self) -> dict[str, object] | None:
        """Return what is known about it, or None when nothing of that has changed."""
        changed, self._about_changed = self._about_changed, False
        return self.about if changed else None

    @property
    def takes_more(self) -> bool:
        """Whether what is on its way is little enough to put more on it."""
        return self._waiting_bytes + self._leaving_bytes < OUTBOX_BYTES

    def push(self, deliveries: list[Delivery]) -> None:
        """Put deliveries on their way; the window bounds how many there can be."""
        self._outbox.extend(deliveries)
        for delivery in deliveries:
            self._waiting_bytes += len(delivery.entry.data)
        self._news.set()

    def stop(self, deliveries: set[tuple[int, int]]) -> None:
        """Have it stop these (index, attempt); each is told once on a connection."""
        new = deliveries - self._told_to_stop
        self._told_to_stop = deliveries
        if new:
            self._stops += sorted(new)
            self._news.set()

    def take_stops(self) -> list[tuple[int, int]]:
        """Return what it is to be told to stop now."""
        taken, self._stops = self._stops, []
        return taken

    def end(self, reason: Ended) -> None:
        """Serve it no more; the first reason stays."""
        if self.ended is None:
            self.ended = reason
            # Whoever reads nothing does not learn of it, and nobody could wait for that.
            asyncio.get_running_loop().call_later(CUT_S, self.cut)
        self._news.set()

    def take_away(self, index: int, attempt: int) -> None:
        """A delivery is no longer this subscriber's; a worker that has it is told of it."""
        self.window.release(1)
        for item in self._outbox:
            if (item.entry.index, item.attempt) == (index, attempt):
                self._outbox.remove(item)
                self._waiting_bytes -= len(item.entry.data)
                return
        if self.own_commits:
            self._taken.append((index, attempt))
            self._told_taken.append((index, attempt))
            self._news.set()

    def take_taken(self) -> list[tuple[int, int]]:
        """Return (index, attempt) of what was taken away and not told yet."""
        taken, self._taken = self._taken, []
        return taken

    def was_taken(self, index: int, attempt: int) -> bool:
        """Say whether a delivery was taken away, so that its window is open already."""
        return (index, attempt) in self._told_taken

    async def next_batch(self) -> list[Delivery]:
        """Wait for deliveries; [] when the subscriber has ended, or has something
        to stop.

        Called again once those of the last call are written.
        """
        was_short = not self.takes_more
        self._leaving_bytes = 0
        if was_short and self.takes_more:
            self.on_room()
        while not (self._outbox or self._taken or self._stops or self.ended):
            self._news.clear()
            await self._news.wait()
        if self.ended is not None:
            return []
        batch = list(self._outbox)
        self._outbox.clear()
        self._leaving_bytes, self._waiting_bytes = self._waiting_bytes, 0
        return batch
