"""A subscriber: one live connection with a window and an outbox."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from queue_service.delivery.window import Window
from queue_service.store.entry import Delivery
from queue_service.store.outcomes import Gone

#: How many bytes one subscriber's outbox may hold before the dispatcher passes it over.  The window
#: bounds the number of entries; this bounds their size, for a client that reads slowly or nothing.
OUTBOX_BYTES = 8 * 1024 * 1024

#: From the end of a subscriber to the end of its connection, in seconds; most are closed sooner.
CUT_S = 2.0

#: How many deliveries that were taken are remembered: their answers may still come.
MOST_TAKEN = 1000


class Ended(Enum):
    """Why a subscriber was ended."""

    LEASE_LOST = auto()  # it was silent for too long, or the store has lost it
    TAKEN_OVER = auto()  # the same user connected again
    STOPPING = auto()  # this replica stops
    REVOKED = auto()  # its token is not valid any more
    SERVICE_STOPPED = auto()  # the service takes nothing until it is started again
    SERVICE_DELETED = auto()  # the service is gone
    STORE_LOST = auto()  # the store may have delivered what never arrived here

    @classmethod
    def after(cls, gone: Gone) -> "Ended":
        """Return the reason for a subscriber that is gone in the store."""
        return cls.TAKEN_OVER if gone is Gone.TAKEN_OVER else cls.LEASE_LOST


@dataclass(eq=False, slots=True)
class Subscriber:
    """One user of one group on one connection.

    session: this connection; the store knows the newest one of each (gid, uid).
    own_commits: whether only this connection ends its deliveries, so that its copy of the window is
        never older than the store's.
    ping: asks the other side for a sign of life.
    cut: ends the connection at once, without sending what is written.
    about: what attributes show of it.
    on_outbox_space: called when a full outbox takes more deliveries again.
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
    _stopping: set[tuple[int, int]] = field(default_factory=set)
    _taken_lately: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MOST_TAKEN))
    _has_news: asyncio.Event = field(default_factory=asyncio.Event)
    _about_changed: bool = False
    #: Whether it was asked to leave, and whether that is to be sent now.
    is_leaving: bool = False
    _leave_unsent: bool = False
    on_outbox_space: Callable[[], None] = lambda: None
    #: Bytes of deliveries in the outbox, and of those that `next_batch` gave last.
    _waiting_bytes: int = 0
    _leaving_bytes: int = 0

    def hear(self) -> None:
        """Note a sign of life."""
        self.last_heard = time.monotonic()

    def silence_s(self) -> float:
        """Seconds since the last sign of life."""
        return time.monotonic() - self.last_heard

    def describe(self, **about: object) -> None:
        """Note what is new about it; attributes show it after the next renewal."""
        self.about.update(about)
        self._about_changed = True

    def changed_about(self) -> dict[str, object] | None:
        """Return what is known about it if that has changed since the last call."""
        changed, self._about_changed = self._about_changed, False
        return self.about if changed else None

    @property
    def has_outbox_space(self) -> bool:
        """Whether the outbox takes more deliveries."""
        return self._waiting_bytes + self._leaving_bytes < OUTBOX_BYTES

    def push(self, deliveries: list[Delivery]) -> None:
        """Put deliveries into the outbox; the window bounds their number."""
        self._outbox.extend(deliveries)
        for delivery in deliveries:
            self._waiting_bytes += len(delivery.entry.data)
        self._has_news.set()

    def stop(self, deliveries: set[tuple[int, int]]) -> None:
        """Have it stop these (index, attempt); each is sent once on a connection."""
        new = deliveries - self._stopping
        self._stopping = deliveries
        if new:
            self._stops += sorted(new)
            self._has_news.set()

    def next_stops(self) -> list[tuple[int, int]]:
        """Return the stops that were not sent yet."""
        stops, self._stops = self._stops, []
        return stops

    def leave(self) -> None:
        """Send Leave after what the outbox has."""
        self._leave_unsent = True
        self._has_news.set()

    def next_leave(self) -> bool:
        """Say whether Leave is to be sent now: once, when the outbox is empty."""
        if self._outbox or not self._leave_unsent:
            return False
        self._leave_unsent = False
        return True

    def end(self, reason: Ended) -> None:
        """End it; the first reason counts."""
        if self.ended is None:
            self.ended = reason
            # A client that reads nothing never sees the close, so its connection is cut.
            asyncio.get_running_loop().call_later(CUT_S, self.cut)
        self._has_news.set()

    def take(self, index: int, attempt: int) -> None:
        """Take a delivery from it; a worker that has it already gets a message."""
        self.window.release(1)
        for item in self._outbox:
            if (item.entry.index, item.attempt) == (index, attempt):
                self._outbox.remove(item)
                self._waiting_bytes -= len(item.entry.data)
                return
        if self.own_commits:
            self._taken.append((index, attempt))
            self._taken_lately.append((index, attempt))
            self._has_news.set()

    def next_taken(self) -> list[tuple[int, int]]:
        """Return (index, attempt) of what was taken and not reported to it yet."""
        taken, self._taken = self._taken, []
        return taken

    def was_taken(self, index: int, attempt: int) -> bool:
        """Say whether a delivery was taken, so that its slot is free already."""
        return (index, attempt) in self._taken_lately

    async def next_batch(self) -> list[Delivery]:
        """Wait for deliveries, stops, taken deliveries, Leave or the end; give the deliveries.

        Call it again when those of the last call are written.
        """
        was_short = not self.has_outbox_space
        self._leaving_bytes = 0
        if was_short and self.has_outbox_space:
            self.on_outbox_space()
        while not (self._outbox or self._taken or self._stops or self._leave_unsent or self.ended):
            self._has_news.clear()
            await self._has_news.wait()
        if self.ended is not None:
            return []
        batch = list(self._outbox)
        self._outbox.clear()
        self._leaving_bytes, self._waiting_bytes = self._waiting_bytes, 0
        return batch
