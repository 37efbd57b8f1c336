"""A service's input queue without HTTP: owners put, workers take, and everything is noted."""

import itertools
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from queue_service.store.entry import (
    Ask,
    Completed,
    Delivery,
    Filter,
    NewEntry,
    Rejected,
    Subscription,
)
from queue_service.store.keys import Keys
from queue_service.store.outcomes import NotStored, Stored
from queue_service.store.putter import Putter, QuotaReached
from queue_service.store.rules import Limits, Rules
from queue_service.store.scripts import Scripts
from queue_service.store.store import Store
from queue_service.store.ticket import Canceled, Submission
from queue_service.store.tickets import TicketStore

#: The service, and the group of its workers.
SERVICE = "svc"
#: The lease of a worker, in ms: no test is as slow as that.
LEASE_MS = 60_000

_RULES = Rules(
    limits=Limits(capacity=100_000, payload_bytes=1_000_000),
    evicts=False,
    sink_capacity=100_000,
    sink_place_bytes=0,
    result_places=1,
    sink_evicts=False,
    max_delivery=0,
    retry=None,
    dead_message_policy="Rear",
    max_dead_letters=100,
    max_idle_ms=0,
    fair=True,
    idempotency_ms=60_000,
    max_events=10,
    max_event_bytes=10_000,
    max_log_bytes=10_000,
    events_ms=60_000,
    workers_gid=SERVICE,
)


@dataclass(eq=False)
class Shop:
    """The queue of `svc`.

    owner_of: by index, the owner of each entry that was put.  given: the owners of what was
    delivered, in that order.  held: by worker, its deliveries by index.
    """

    scripts: Scripts
    keys: Keys
    owner_of: dict[int, str] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    held: dict[str, dict[int, Delivery]] = field(default_factory=lambda: defaultdict(dict))
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _windows: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.scripts, self.keys, "input", _RULES)
        self.sink = Store(self.scripts, self.keys, "sink", _RULES)
        self.tickets = TicketStore(self.store, self.keys, gid=SERVICE)

    def change(self, **rules: Any) -> None:
        """Change rules of the service."""
        for store in (self.store, self.sink):
            store.change(replace(store.rules, **rules))

    async def put(
        self,
        owner: str,
        count: int = 1,
        *,
        priority: int = 0,
        tag: str = "",
        bulk: bool = False,
        **limits: Any,
    ) -> list[int]:
        """Put entries of an owner, "" for the service's own token; give their indexes."""
        putter = Putter(owner, **limits) if owner else None
        if bulk:
            putter = Putter(owner, **limits).in_bulk()
        tags = {"for": tag} if tag else {}
        put = self.store.put
        futures = [
            put(NewEntry(f"r{next(self._numbers)}", b"x", tags, priority, putter=putter))
            for _ in range(count)
        ]
        indexes = []
        for future in futures:
            stored = await future
            assert isinstance(stored, Stored), stored
            indexes.append(stored.index)
        self.owner_of.update(dict.fromkeys(indexes, owner))
        return indexes

    async def refused(self, owner: str, **limits: Any) -> QuotaReached:
        """Put one that must not be taken; say why it was not."""
        entry = NewEntry(f"r{next(self._numbers)}", b"x", putter=Putter(owner, **limits))
        stored = await self.store.put(entry)
        assert isinstance(stored, NotStored), stored
        assert isinstance(stored.reason, QuotaReached), stored
        return stored.reason

    async def submit(self, owner: str, *, begin_ms: int = 0, **limits: Any) -> str:
        """Submit a request; give its id, or the word of its refusal."""
        request_id = f"t{next(self._numbers)}"
        submission = Submission(request_id, b"x", "digest", 0, 60_000, begin_ms=begin_ms)
        putter = Putter(owner, **limits) if owner else None
        stored = await self.tickets.submit(replace(submission, putter=putter))
        if isinstance(stored, NotStored):
            assert isinstance(stored.reason, QuotaReached), stored
            return stored.reason.quota
        return stored.name

    async def cancel(self, request_id: str) -> Canceled:
        return await self.tickets.cancel(request_id)

    async def join(
        self, uid: str, window: int = 1, *, gid: str = SERVICE, tag: str = "", resident: bool = True
    ) -> None:
        """Subscribe a worker, or a reader of another group."""
        self._windows[gid, uid] = window
        wanted = Filter(tags={"for": tag}) if tag else Filter()
        await self.store.subscribe(
            Subscription(gid, uid, "s", window, LEASE_MS, wanted, resident=resident)
        )

    async def take(self, *uids: str, gid: str = SERVICE) -> list[Delivery]:
        """Deliver all that these may have now; return what that was."""
        handout = await self.store.deliver(
            gid, [Ask(uid, "s", self._windows[gid, uid]) for uid in uids]
        )
        assert not handout.gone
        taken = []
        for uid in uids:
            for delivery in handout.deliveries[uid]:
                if gid == SERVICE:
                    self.held[uid][delivery.entry.index] = delivery
                    self.given.append(self.owner_of.get(delivery.entry.index, "?"))
                taken.append(delivery)
        return taken

    async def finish(self, uid: str, *indexes: int) -> None:
        """Answer deliveries of a worker: these, or all that it has."""
        for index in indexes or list(self.held[uid]):
            delivery = self.held[uid].pop(index)
            assert await self.store.complete(
                Completed(SERVICE, uid, index, delivery.attempt, b"done")
            )

    async def finish_all(self, uid: str) -> None:
        """Answer whatever a worker has."""
        if self.held[uid]:
            await self.finish(uid)

    async def reject(self, uid: str, index: int, *, pause_ms: int = 0, type: str = "") -> bool:
        delivery = self.held[uid].pop(index)
        rejected = Rejected(
            SERVICE, uid, index, delivery.attempt, "500", type=type, pauses_ms=(pause_ms,)
        )
        return await self.store.reject(rejected)

    async def fail(self, uid: str, index: int, type: str) -> None:
        """Answer a delivery with a failure that ends its entry."""
        delivery = self.held[uid].pop(index)
        failed = Completed(
            SERVICE,
            uid,
            index,
            delivery.attempt,
            b"no",
            failed_code="500",
            failed_reason="no",
            failed_type=type,
        )
        assert await self.store.complete(failed)

    async def leave(self, uid: str, *, gid: str = SERVICE) -> None:
        """End a subscriber as a crash does; what it held goes out again."""
        await self.store.release(gid, uid, session="s", grace_ms=0)
        if gid == SERVICE:
            self.held.pop(uid, None)

    async def work_off(self, *uids: str) -> None:
        """Take and answer until there is nothing more."""
        while await self.take(*uids):
            for uid in uids:
                await self.finish(uid)

    async def empty(self, *readers: tuple[str, str]) -> None:
        """End everybody and remove everything that is left."""
        for gid, uid in list(self._windows):
            await self.leave(uid, gid=gid)
        for queue in (self.store, self.sink):
            await queue.truncate(2**53)
