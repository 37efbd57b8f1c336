"""The dispatcher: one for each queue in each process.

It waits for the doorbell, finds the subscribers with free slots, asks the store for entries, and
pushes them.  Windows here are copies: the store never delivers more than a window allows.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator

from queue_service.delivery.doorbell import Doorbell
from queue_service.delivery.subscriber import Ended, Subscriber
from queue_service.delivery.window import Ranking, Window
from queue_service.errors import OutcomeUnknown, StoreError, StoreUnavailable
from queue_service.process.metrics import QueueMetrics
from queue_service.store.entry import Ask
from queue_service.store.outcomes import Delivered, SinkChange
from queue_service.store.store import Store

log = logging.getLogger(__name__)

#: Subscribers in one call of the store.  When nothing waits, it asks for no more than these.
MOST_ASKS = 32

#: How long to wait before asking a store again that did not answer, in seconds.
STORE_PAUSE_S = 0.2

#: The window of a subscriber whose outbox is full.
NO_ROOM = Window(0)


class Dispatcher:
    """Delivers a queue's entries to the subscribers that are connected to this process.

    on_sink_change: called when a delivery has found that the sink is full, or has room again.
    """

    def __init__(self, store: Store, bell: Doorbell, metrics: QueueMetrics) -> None:
        self.on_sink_change: Callable[[SinkChange], None] = lambda _: None
        self._store = store
        self._bell = bell
        self._metrics = metrics
        self._rankings: dict[str, Ranking[Subscriber]] = {}
        self._subscribers: dict[tuple[str, str], Subscriber] = {}
        #: Groups for which entries may wait, although no subscriber here had a free slot.
        self._unserved: set[str] = set()
        #: Subscribers whose windows were closed, and that get Leave next.
        self._leaving: list[Subscriber] = []

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(list(self._subscribers.values()))

    def __len__(self) -> int:
        return len(self._subscribers)

    def find(self, gid: str, uid: str) -> Subscriber | None:
        """The live subscriber of this user here, if there is one."""
        return self._subscribers.get((gid, uid))

    def add(self, subscriber: Subscriber) -> None:
        """Serve a subscriber, and end an older connection of the same user."""
        older = self._subscribers.get((subscriber.gid, subscriber.uid))
        if older is not None:
            self.end(older, Ended.TAKEN_OVER)
        self._subscribers[subscriber.gid, subscriber.uid] = subscriber
        self._ranking(subscriber).place(subscriber, subscriber.window)
        subscriber.on_outbox_space = lambda: self._take_up(subscriber)
        self._bell.ring()

    def remove(self, subscriber: Subscriber) -> None:
        """Serve a subscriber no longer; a newer connection of its user goes on."""
        if self._subscribers.get((subscriber.gid, subscriber.uid)) is subscriber:
            del self._subscribers[subscriber.gid, subscriber.uid]
        ranking = self._ranking(subscriber)
        ranking.leave(subscriber)
        if not ranking:
            del self._rankings[subscriber.gid]
            self._unserved.discard(subscriber.gid)

    def end(self, subscriber: Subscriber, reason: Ended) -> None:
        """End a subscriber from this side; its connection tells the client why."""
        subscriber.end(reason)
        self.remove(subscriber)

    def window_changed(self, subscriber: Subscriber) -> None:
        """Note that a subscriber has more or fewer free slots than before."""
        if self._subscribers.get((subscriber.gid, subscriber.uid)) is subscriber:
            window = subscriber.window if subscriber.has_outbox_space else NO_ROOM
            self._ranking(subscriber).place(subscriber, window)

    def leave(self, subscriber: Subscriber) -> None:
        """Send Leave to a subscriber whose window is 0 in the store.

        A call of the store that is under way may have deliveries for it.  Leave comes after them,
        in the next round, so that the worker does not end before them.
        """
        self._leaving.append(subscriber)
        self._bell.ring()

    def reopened(self, subscriber: Subscriber) -> None:
        """Serve a subscriber again after some of its deliveries have ended.

        The store rings for this too, but the ring may come before the reply, and it always does if
        the reply has to wait for a disk or for replicas.
        """
        self.window_changed(subscriber)
        if subscriber.gid in self._unserved:
            self._bell.ring()

    def _take_up(self, subscriber: Subscriber) -> None:
        """Serve a subscriber again that has emptied its outbox."""
        self.window_changed(subscriber)
        self._bell.ring()

    async def run(self) -> None:
        """Serve until cancelled."""
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
        """Deliver what can be delivered now."""
        leaving, self._leaving = self._leaving, []
        for subscriber in leaving:
            subscriber.leave()
        unsure, self._bell.windows_changed = self._bell.windows_changed, False
        for gid in list(self._rankings):
            doubtful = self._doubtful(gid) if unsure else []
            while await self._serve_round(gid, doubtful):
                doubtful = []

    async def _serve_round(self, gid: str, doubtful: list[Subscriber]) -> bool:
        """Ask once for every subscriber with free slots; True when another round may find more."""
        ranking = self._rankings.get(gid)
        if ranking is None:
            return False
        given = 0
        asked: set[Subscriber] = set()
        while batch := (
            ranking.first(MOST_ASKS, without=asked)
            or [member for member in doubtful if member not in asked][:MOST_ASKS]
        ):
            asked.update(batch)
            releases = {subscriber: subscriber.window.releases for subscriber in batch}
            delivered = await self._ask(gid, batch)
            given += self._push(delivered, releases)
            if delivered.sink_change is not None:
                self.on_sink_change(delivered.sink_change)
            if delivered.waiting <= 0:
                self._unserved.discard(gid)
                return False
        self._unserved.add(gid)
        return given > 0

    async def _ask(self, gid: str, asked: list[Subscriber]) -> Delivered:
        try:
            return await self._store.deliver(
                gid,
                [
                    Ask(member.uid, member.session, member.window.room or member.window.size)
                    for member in asked
                ],
            )
        except OutcomeUnknown:
            # They may now hold entries that were never sent.  Only a new connection corrects that:
            # it names what it has, and the store releases the rest.
            for member in asked:
                self.end(member, Ended.STORE_LOST)
            raise

    def _push(self, delivered: Delivered, asked: dict[Subscriber, int]) -> int:
        given = 0
        for subscriber, releases in asked.items():
            if (gone := delivered.gone.get(subscriber.uid)) is not None:
                self.end(subscriber, Ended.after(gone))
                continue
            deliveries = delivered.deliveries[subscriber.uid]
            if subscriber.own_commits or subscriber.window.releases != releases:
                subscriber.window.hold(len(deliveries))
            else:
                subscriber.window.held = delivered.held[subscriber.uid]
            if deliveries:
                given += len(deliveries)
                subscriber.push(deliveries)
            self.window_changed(subscriber)
        self._metrics.deliveries.inc(given)
        return given

    def _doubtful(self, gid: str) -> list[Subscriber]:
        """Subscribers whose copy here is full, though a commit elsewhere may have freed a slot."""
        ranking = self._rankings.get(gid)
        doubtful = ranking.full if ranking else []
        return [member for member in doubtful if not member.own_commits and member.has_outbox_space]

    def _ranking(self, subscriber: Subscriber) -> Ranking[Subscriber]:
        return self._rankings.setdefault(subscriber.gid, Ranking())
