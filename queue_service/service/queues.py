"""A queue: the verbs of the protocol, on one store, with its deliveries."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace as replaced

from queue_service.delivery.dispatcher import Dispatcher
from queue_service.delivery.doorbell import Doorbell, wait_for_any
from queue_service.delivery.leases import Leases
from queue_service.delivery.subscriber import Ended, Subscriber
from queue_service.delivery.ticket_bells import TicketBells
from queue_service.delivery.window import Window
from queue_service.errors import (
    Draining,
    NoSuchEntry,
    NoSuchService,
)
from queue_service.process.metrics import QueueMetrics
from queue_service.service.dead_letters import DeadLetters
from queue_service.service.payload_files import PayloadFiles
from queue_service.service.refusals import Refusals
from queue_service.service.rejections import decide
from queue_service.settings.process import Settings
from queue_service.store.batching import all_of
from queue_service.store.entry import (
    Completed,
    Entry,
    Filter,
    NewEntry,
    Place,
    Read,
    Rejected,
    Subscription,
)
from queue_service.store.outcomes import Committed, NotStored, SinkChange, Stored
from queue_service.store.owners import EVERYBODYS, Viewer
from queue_service.store.reading import read_whole
from queue_service.store.rules import Limits, Rules
from queue_service.store.state import QueueState
from queue_service.store.store import Store
from queue_service.store.ticket import Stop


class Queue:
    """One queue of a service."""

    def __init__(
        self,
        store: Store,
        *,
        service: str,
        settings: Settings,
        metrics: QueueMetrics,
        files: PayloadFiles,
        ticket_bells: TicketBells | None = None,
    ) -> None:
        self.store = store
        self.role = store.role
        self.service = service
        self.files = files
        self.bell = Doorbell()
        self.metrics = metrics
        self.lease_ms = settings.lease_ms
        self.release_grace_ms = settings.release_grace_ms
        self.dead_letters = DeadLetters(store, files)
        self._settings = settings
        self._ticket_bells = ticket_bells
        self._dispatcher = Dispatcher(store, self.bell, metrics)
        self._leases = Leases(
            store,
            self._dispatcher,
            metrics,
            lease_ms=settings.lease_ms,
            tick_ms=settings.tick_ms,
            ticket_bells=ticket_bells,
        )
        self.refusals = Refusals(store.role, metrics)
        self._draining = False
        self._closed: Ended | None = None

    @property
    def limits(self) -> Limits:
        """The most that this queue holds now."""
        return self.store.rules.limits

    def on_sink_change(self, changed: Callable[[SinkChange], None]) -> None:
        """Call this when a delivery has found that the sink is full, or has room again."""
        self._dispatcher.on_sink_change = changed

    async def run(self) -> None:
        """Deliver and look after leases, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatcher.run())
            group.create_task(self._leases.run())

    @property
    def _is_ending(self) -> bool:
        return self._draining or self._closed is not None

    def drain(self) -> None:
        """End every subscriber; what they hold stays theirs until their leases end.

        They connect again, to another replica or to this one's successor, and go on.
        """
        self._draining = True
        for subscriber in self._dispatcher:
            self._dispatcher.end(subscriber, Ended.STOPPING)
        self.bell.ring()

    def close(self, reason: Ended) -> None:
        """End every subscriber and answer long polls; a deleted queue takes nothing any more."""
        self._closed = reason
        for subscriber in self._dispatcher:
            self._dispatcher.end(subscriber, reason)
        self.bell.ring()

    def reopen_to_all(self) -> None:
        """Take subscribers again."""
        self._closed = None
        self.bell.ring()

    def change(self, rules: Rules) -> None:
        """Use other rules from now on; an operation that has begun keeps the old rules."""
        self.store.change(rules)
        self._leases.rules_changed()
        # There may be more room than before, here or in the sink.
        self.bell.ring(windows_changed=True)

    async def put(self, entry: NewEntry) -> Stored:
        """Store an entry.

        With nothing stored it raises FrameTooBig, FilesFull, QueueFull, QuotaExceeded,
        NotInLineYet, QueueEnded or, for a result, ForeignEntry.  After StoreUnavailable only a put
        with the same idempotency key is sure not to store it twice.
        """
        if self._closed is Ended.SERVICE_DELETED:
            raise NoSuchService(self.service)
        entry = await self.files.offload(entry, self.limits)
        stored = await self.store.put(entry)
        await self.files.settle(entry.files)
        if isinstance(stored, NotStored):
            raise await self.refusals.error(
                stored,
                request_id=entry.request_id,
                putter=entry.putter,
                owner=entry.owner,
                capacity=self.limits.capacity,
            )
        self.metrics.puts.inc()
        return stored

    async def get(
        self,
        read: Read,
        *,
        timeout_s: float = 0.0,
        given_up: Callable[[], bool] = lambda: False,
        also: Sequence[Doorbell] = (),
    ) -> list[Entry]:
        """Read entries; wait up to `timeout_s` for as many as were asked for.

        With `take` they are kept from other reads: delete or restore must follow.
        given_up: whether the client has stopped waiting; asked after each ring.  also: bells that
        ring when it may have.
        """
        deadline = time.monotonic() + timeout_s
        # A read of several entries looks before it takes any, or it would hide the first ones from
        # other reads for long.  After each ring it reads only what is new.
        whole = replaced(read, take=read.take and read.length == 1, may_take=read.take)
        look, seen_before = whole, 0
        while True:
            bells = (self.bell, *also)
            seen = [bell.rings for bell in bells]
            entries = await read_whole(self.store, look)
            if seen_before and seen_before + len(entries) >= read.length:
                # What was there before may have gone meanwhile.
                look, seen_before = whole, 0
                continue
            left_s = deadline - time.monotonic()
            if len(entries) >= read.length or left_s <= 0 or self._is_ending:
                if seen_before or (look.take != read.take and entries):
                    entries = await read_whole(self.store, read)
                self.metrics.gets.inc(len(entries))
                return entries
            if entries:
                behind = replaced(read.wanted, from_index=entries[-1].index + 1)
                seen_before += len(entries)
                look = replaced(whole, wanted=behind, length=read.length - seen_before)
            await wait_for_any(bells, seen, timeout_s=left_s)
            if given_up():
                return []

    async def restore(self, indexes: Iterable[int]) -> None:
        """Show taken entries to other reads again."""
        await self.store.restore(indexes)

    async def subscribe(
        self,
        gid: str,
        uid: str,
        *,
        window: int,
        ping: Callable[[], None],
        cut: Callable[[], None],
        wanted: Filter | None = None,
        newest_only: bool = False,
        own_commits: bool = False,
        about: Mapping[str, object] | None = None,
        claims: Sequence[tuple[int, int]] = (),
    ) -> tuple[Subscriber, list[tuple[int, int]]]:
        """Make a connection a subscriber; give it, and those claims that are lost.

        own_commits: a worker, whose deliveries only its own connection ends.
        """
        if self._closed is Ended.SERVICE_DELETED:
            raise NoSuchService(self.service)
        if self._is_ending:
            raise Draining
        session = secrets.token_hex(8)
        held, lost = await self.store.subscribe(
            Subscription(
                gid=gid,
                uid=uid,
                session=session,
                window=window,
                lease_ms=self._settings.lease_ms,
                wanted=wanted or Filter(),
                newest_only=newest_only,
                resident=own_commits,
                about=about or {},
                claims=claims,
            )
        )
        subscriber = Subscriber(
            gid,
            uid,
            session,
            Window(window, held),
            own_commits=own_commits,
            ping=ping,
            cut=cut,
            about=dict(about or {}),
        )
        self._dispatcher.add(subscriber)
        if self._is_ending:
            # The end has begun while the store was asked, and has not seen this one.
            self._dispatcher.end(subscriber, self._closed or Ended.STOPPING)
        return subscriber, lost

    async def unsubscribe(self, subscriber: Subscriber) -> None:
        """The connection is gone; what it held goes out again after the grace.

        With a revoked token nobody comes back for it: then it goes out at once, and the delivery
        does not count against the entry.
        """
        self._dispatcher.remove(subscriber)
        if subscriber.ended not in (None, Ended.REVOKED):
            # Lost, taken over or stopping: its deliveries are not this connection's to end.
            return
        revoked = subscriber.ended is Ended.REVOKED
        grace_ms = 0 if revoked else self._settings.release_grace_ms
        held = await self.store.release(
            subscriber.gid,
            subscriber.uid,
            session=subscriber.session,
            grace_ms=grace_ms,
            charged=not revoked,
        )
        if held:
            self._leases.look_in(grace_ms / 1000)

    async def set_window(self, subscriber: Subscriber, window: int) -> None:
        """Change a subscriber's window; that of a worker that is to leave stays 0."""
        if subscriber.is_leaving:
            window = 0
        if not await self.store.set_window(
            subscriber.gid,
            subscriber.uid,
            session=subscriber.session,
            window=window,
            # It says why the window changes, which the figures of autoscaling show at once.
            about=subscriber.changed_about(),
        ):
            self._dispatcher.end(subscriber, Ended.LEASE_LOST)
            return
        subscriber.window.size = window
        self._dispatcher.window_changed(subscriber)
        self.bell.ring()

    async def leave(self, gid: str, uids: Iterable[str]) -> None:
        """Close the windows of those workers that are connected here, and have them leave."""
        for uid in uids:
            subscriber = self._dispatcher.find(gid, uid)
            if subscriber is None or subscriber.is_leaving:
                continue
            # Before the window closes, so that its worker cannot open it again meanwhile.
            subscriber.is_leaving = True
            try:
                await self.set_window(subscriber, 0)
            except BaseException:
                # The next look at what workers are to stop tries again.
                subscriber.is_leaving = False
                raise
            self._dispatcher.leave(subscriber)

    def reopen(self, subscriber: Subscriber, deliveries: int) -> None:
        """That many of a subscriber's deliveries have ended."""
        subscriber.window.release(deliveries)
        self._dispatcher.reopened(subscriber)

    def stop(self, gid: str, stops: Sequence[Stop]) -> None:
        """Have those subscribers that are connected here stop what they are to stop."""
        by_user: dict[str, set[tuple[int, int]]] = {}
        for stop in stops:
            by_user.setdefault(stop.uid, set()).add((stop.index, stop.attempt))
        for uid, deliveries in by_user.items():
            subscriber = self._dispatcher.find(gid, uid)
            if subscriber is not None:
                subscriber.stop(deliveries)

    async def complete(self, done: Sequence[Completed]) -> list[bool]:
        """End deliveries with their results; False where one was no longer the subscriber's."""
        accepted = await all_of([self.store.complete(item) for item in done])
        for item, is_accepted in zip(done, accepted, strict=True):
            if not is_accepted:
                await self.files.settle(item.files)
        self.metrics.completions.inc(accepted.count(True))
        self.metrics.stale.inc(accepted.count(False))
        return accepted

    async def reject(self, rejected: Sequence[Rejected]) -> list[bool]:
        """Give deliveries back; False where one was no longer the subscriber's."""
        decided = [decide(item, self.store.rules.retry) for item in rejected]
        accepted = await all_of([self.store.reject(item) for item in decided])
        if self._ticket_bells is not None and any(any(item.pauses_ms) for item in decided):
            # This process learns when the next pause ends.
            self._ticket_bells.due.ring()
        self.metrics.rejections.inc(accepted.count(True))
        self.metrics.stale.inc(accepted.count(False))
        return accepted

    async def commit(self, gid: str, uid: str, indexes: Sequence[int]) -> None:
        """The group is done with entries; those that another user holds are left alone."""
        outcomes = await all_of([self.store.commit((gid, uid, index)) for index in indexes])
        committed = outcomes.count(Committed.COMMITTED)
        self.metrics.commits.inc(committed)
        self.metrics.stale.inc(outcomes.count(Committed.FOREIGN))
        subscriber = self._dispatcher.find(gid, uid)
        if subscriber is not None and committed:
            self.reopen(subscriber, committed)

    async def delete(
        self, indexes: Sequence[int], *, viewer: Viewer = EVERYBODYS, taker: str = ""
    ) -> int:
        """Remove entries for all groups; give how many there were."""
        deleted = await self.store.delete(indexes, owner=viewer.owner, taker=taker)
        self.metrics.deletions.inc(deleted)
        return deleted

    async def truncate(self, below: int, *, viewer: Viewer = EVERYBODYS) -> int:
        """Remove every entry with a lower index; give how many there were."""
        deleted = await self.store.truncate(below, owner=viewer.owner)
        self.metrics.deletions.inc(deleted)
        return deleted

    async def search(self, gid: str, index: int, *, viewer: Viewer = EVERYBODYS) -> Place:
        """Say where an entry is; raises NoSuchEntry."""
        place = await self.store.search(gid, index, workers_gid=self.service, owner=viewer.owner)
        if place is None:
            raise NoSuchEntry
        return place

    async def count(self, wanted: Filter, *, priority: int | None = None) -> int:
        """Count the entries that a filter wants, of any priority, of none or of one above 0."""
        lane = None if priority is None else min(1, priority)
        return await self.store.count(wanted, lane=lane)

    async def newest(self, wanted: Filter, length: int) -> int:
        """Give the index from which to read the newest `length` wanted entries.

        Without any it is 0, from the beginning: a read that waits finds the first one.
        """
        return await self.store.newest(wanted, length) or 0

    async def end_stream(self, *, ended: bool, drop: bool = False) -> int:
        """Take no more puts, or take them again; give how many waiting entries were dropped."""
        dropped = await self.store.end_stream(ended=ended, drop=drop)
        self.metrics.deletions.inc(dropped)
        return dropped

    async def pause(self, *, paused: bool) -> None:
        """Deliver nothing more, or deliver again; what is held stays with its subscribers."""
        await self.store.pause(paused=paused)

    async def attributes(self, viewer: Viewer = EVERYBODYS) -> QueueState:
        """The queue in numbers, with its groups and subscribers."""
        return await self.store.attributes(viewer.owner)
