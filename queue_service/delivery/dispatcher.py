"""The dispatcher: one for each queue in each process.

Wait for the doorbell, see who has room, ask the store, push.  Not-ready is expressed by not
being in line; the truth about windows is the store's, which hands out no more than they allow.
"""

import asyncio
import logging
from collections.abc import Iterator

from queue_service.delivery.doorbell import Doorbell
from queue_service.delivery.subscriber import Ended, Subscriber
from queue_service.delivery.window import Line, Window
from queue_service.errors import OutcomeUnknown, StoreError, StoreUnavailable
from queue_service.process.metrics import QueueMetrics
from queue_service.store.entry import Ask, Handout
from queue_service.store.store import Store

log = logging.getLogger(__name__)

#: Subscribers asked for in one call of the store; once nothing waits, the rest cost one look each.
MOST_ASKS = 32

#: How long to leave a store alone that does not answer, in seconds.
STORE_PAUSE_S = 0.2

#: Where somebody stands to whom enough is on its way already.
NO_ROOM = Window(0)


class Dispatcher:
    """Hands a queue's entries to the subscribers that are connected to this process."""

    def __init__(self, store: Store, bell: Doorbell, metrics: QueueMetrics) -> None:
        self._store = store
        self._bell = bell
        self._metrics = metrics
        self._lines: dict[str, Line[Subscriber]] = {}
        self._subscribers: dict[tuple[str, str], Subscriber] = {}
        #: Groups of which nobody had room when something may have waited.
        self._unserved: set[str] = set()

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(list(self._subscribers.values()))

    def __len__(self) -> int:
        return len(self._subscribers)

    def find(self, gid: str, uid: str) -> Subscriber | None:
        """The live subscriber of this user here, if there is one."""
        return self._subscribers.get((gid, uid))

    def add(self, subscriber: Subscriber) -> None:
        """Serve a subscriber; an older connection of the same user here is ended."""
        older = self._subscribers.get((subscriber.gid, subscriber.uid))
        if older is not None:
            self.end(older, Ended.TAKEN_OVER)
        self._subscribers[subscriber.gid, subscriber.uid] = subscriber
        self._line(subscriber).place(subscriber, subscriber.window)
        subscriber.on_room = lambda: self._take_up(subscriber)
        self._bell.ring()

    def remove(self, subscriber: Subscriber) -> None:
        """Serve it no more; nothing happens when a newer connection has its place."""
        if self._subscribers.get((subscriber.gid, subscriber.uid)) is subscriber:
            del self._subscribers[subscriber.gid, subscriber.uid]
        line = self._line(subscriber)
        line.leave(subscriber)
        if not line:
            del self._lines[subscriber.gid]
            self._unserved.discard(subscriber.gid)

    def end(self, subscriber: Subscriber, reason: Ended) -> None:
        """End a subscriber from this side: its connection is told why."""
        subscriber.end(reason)
        self.remove(subscriber)

    def window_changed(self, subscriber: Subscriber) -> None:
        """Put a subscriber where its window now belongs."""
        if self._subscribers.get((subscriber.gid, subscriber.uid)) is subscriber:
            window = subscriber.window if subscriber.takes_more else NO_ROOM
            self._line(subscriber).place(subscriber, window)

    def reopened(self, subscriber: Subscriber) -> None:
        """Serve a subscriber again of whose deliveries some have ended.

        The store rings for this too, but its ring may be here before its answer: always when the
        answer has to wait for a disk or for replicas.
        """
        self.window_changed(subscriber)
        if subscriber.gid in self._unserved:
            self._bell.ring()

    def _take_up(self, subscriber: Subscriber) -> None:
        """Serve a subscriber again that has read what was on its way."""
        self.window_changed(subscriber)
        self._bell.ring()

    async def run(self) -> None:
        """Serve for ever."""
        seen = 0
        while True:
            seen = await self._bell.wait(seen)
            try:
                await self.serve()
            except StoreUnavailable as error:
                log.debug("Nothing is delivered while the store is away: %s", error)
                await asyncio.sleep(STORE_PAUSE_S)
            except StoreError:
                log.exception("A delivery failed; trying again at the next ring.")
                await asyncio.sleep(STORE_PAUSE_S)

    async def serve(self) -> None:
        """Hand out what can be handed out now."""
        unsure, self._bell.windows_changed = self._bell.windows_changed, False
        for gid in list(self._lines):
            doubtful = self._doubtful(gid) if unsure else []
            while await self._serve_round(gid, doubtful):
                doubtful = []

    async def _serve_round(self, gid: str, doubtful: list[Subscriber]) -> bool:
        """Ask once for everybody who has room; True when another round may find more."""
        line = self._lines.get(gid)
        if line is None:
            return False
        given = 0
        asked: set[Subscriber] = set()
        while batch := (
            line.emptiest(MOST_ASKS, without=asked)
            or [member for member in doubtful if member not in asked][:MOST_ASKS]
        ):
            asked.update(batch)
            releases = {subscriber: subscriber.window.releases for subscriber in batch}
            handout = await self._ask(gid, batch)
            given += self._hand_out(handout, releases)
            if handout.waiting <= 0:
                self._unserved.discard(gid)
                return False
        self._unserved.add(gid)
        return given > 0

    async def _ask(self, gid: str, asked: list[Subscriber]) -> Handout:
        try:
            return await self._store.deliver(
                gid,
                [
                    Ask(member.uid, member.session, member.window.room or member.window.size)
                    for member in asked
                ],
            )
        except OutcomeUnknown:
            # They may now hold entries that nobody has sent them.  Only a new connection
            # puts that right: it says what it has, and the store puts back the rest.
            for member in asked:
                self.end(member, Ended.STORE_LOST)
            raise

    def _hand_out(self, handout: Handout, asked: dict[Subscriber, int]) -> int:
        given = 0
        for subscriber, releases in asked.items():
            if subscriber.uid in handout.gone:
                taken_over = handout.gone[subscriber.uid]
                self.end(subscriber, Ended.TAKEN_OVER if taken_over else Ended.LEASE_LOST)
                continue
            deliveries = handout.deliveries[subscriber.uid]
            if subscriber.own_commits or subscriber.window.releases != releases:
                subscriber.window.hold(len(deliveries))
            else:
                subscriber.window.held = handout.held[subscriber.uid]
            if deliveries:
                given += len(deliveries)
                subscriber.push(deliveries)
            self.window_changed(subscriber)
        self._metrics.deliveries.inc(given)
        return given

    def _doubtful(self, gid: str) -> list[Subscriber]:
        """Those that look full here, though a commit elsewhere may have made room."""
        line = self._lines.get(gid)
        doubtful = line.full if line else []
        return [member for member in doubtful if not member.own_commits and member.takes_more]

    def _line(self, subscriber: Subscriber) -> Line[Subscriber]:
        return self._lines.setdefault(subscriber.gid, Line())
