"""One queue in Redis: a method for each verb, each the caller of one Lua script."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from queue_service.errors import QuotaExceeded
from queue_service.store.batching import Batcher
from queue_service.store.dead_letters import DeadLetterStore
from queue_service.store.entry import (
    Ask,
    Completed,
    Delivery,
    Dropped,
    Entry,
    Filter,
    NewEntry,
    Place,
    Quality,
    Read,
    Rejected,
    Renewal,
    Subscription,
)
from queue_service.store.keys import Keys, Role, other
from queue_service.store.outcomes import (
    Committed,
    Delivered,
    Expired,
    Gone,
    NotStored,
    Overdue,
    SinkChange,
    Stored,
    Taken,
    read_put,
    time_or_none,
)
from queue_service.store.owners import owned_name, plain_name
from queue_service.store.rules import Rules
from queue_service.store.scripts import Scripts
from queue_service.store.state import QueueState, read_state

#: Bytes after which one deliver call hands out no more.
DELIVER_BYTES = 4 * 1024 * 1024
#: Entries that one truncate or delete call removes, so that Redis serves others in between.
REMOVE_STEP = 100
#: How long a read keeps what it is about to delete from other reads, in ms.
TAKEN_MS = 30_000
#: How long a group is remembered after its last member has left, in ms.
GROUP_REMEMBERED_MS = 3_600_000


class Store:
    """The store of one queue, for as long as this process serves it.

    A change of the settings swaps its rules; everything else stays.
    """

    def __init__(self, scripts: Scripts, keys: Keys, role: Role, rules: Rules) -> None:
        self.role = role
        self._scripts = scripts
        self._names = keys
        self._keys = keys.queue(role) + keys.queue(other(role)) + keys.shared()
        self.change(rules)

        self.dead_letters = DeadLetterStore(self._run)

        #: Each takes one item and gives a future of its outcome; see the method it sends by.
        self.put: Batcher[NewEntry, Stored | NotStored] = Batcher(
            self._put, weigh=lambda item: len(item.data)
        )
        self.get: Batcher[Read, tuple[list[Entry], int | None]] = Batcher(self._get, most=64)
        self.complete: Batcher[Completed, bool] = Batcher(
            self._complete, weigh=lambda item: len(item.data or b"")
        )
        self.commit: Batcher[tuple[str, str, int], Committed] = Batcher(self._commit)
        self.reject: Batcher[Rejected, bool] = Batcher(self._reject)

    @property
    def rules(self) -> Rules:
        """The limits and policies of the queue now; every call of a script carries them."""
        return self._rules

    def change(self, rules: Rules) -> None:
        """Use these rules from the next call of a script on."""
        self._rules = rules
        self._first = (self._names.channel, self.role, rules.to_json())

    async def _put(self, entries: Sequence[NewEntry]) -> list[Stored | NotStored]:
        """Store entries."""
        keys: list[str] = list(self._keys)
        arguments: list[Any] = []
        for entry in entries:
            if entry.idempotency_key:
                key = owned_name(entry.owner, entry.idempotency_key)
                keys.append(self._names.idempotency(self.role, key))
            if entry.putter is not None and entry.putter.rate_per_s:
                keys.append(self._names.rate(entry.putter.token_id))
            # A result's name is found by the script: it is that of the entry which it answers.
            is_input = self.role == "input"
            arguments += (
                owned_name(entry.owner, entry.request_id) if is_input else entry.request_id,
                entry.tags_json(),
                entry.data,
                1 if entry.priority > 0 else 0,
                entry.path,
                entry.content_type,
                1 if entry.idempotency_key else 0,
                "" if entry.putter is None else entry.putter.to_text(),
                "" if is_input else entry.owner,
                entry.meant,
            )
        reply = await self._run("put", arguments, keys)
        return [read_put(item) for item in reply]

    async def scan(self, read: Read) -> tuple[list[Entry], int | None]:
        """The same as `get` for a read that may have to look at many entries."""
        async with self._scripts.slices.turn(self._names.service):
            return (await self._get([read]))[0]

    async def _get(self, reads: Sequence[Read]) -> list[tuple[list[Entry], int | None]]:
        """Read entries; give those of each read, and the index to continue at; None at the end."""
        arguments: list[Any] = [TAKEN_MS]
        for read in reads:
            arguments += (
                read.wanted.to_json(),
                max(1, read.wanted.from_index),
                read.length,
                f"{1 if read.take else 2 if read.may_take else 0}{read.taker}",
            )
        reply = await self._run("get", arguments)
        return [
            ([Entry.from_reply(entry) for entry in item[1:]], int(item[0] or 0) or None)
            for item in reply
        ]

    async def deliver(self, gid: str, asks: Sequence[Ask]) -> Delivered:
        """Deliver entries to subscribers of one group, in the order in which they are named."""
        arguments: list[Any] = [gid, DELIVER_BYTES]
        for ask in asks:
            arguments += (ask.uid, ask.session, ask.room)
        waiting, change, *batches = await self._run("deliver", arguments)
        deliveries: dict[str, list[Delivery]] = {}
        held: dict[str, int] = {}
        gone: dict[str, Gone] = {}
        for ask, (state, count, *batch) in zip(asks, batches, strict=True):
            if state != b"ok":
                gone[ask.uid] = Gone(state)
                continue
            held[ask.uid] = int(count)
            deliveries[ask.uid] = [Delivery.from_reply(item) for item in batch]
        sink_change = SinkChange(change.decode()) if change else None
        return Delivered(int(waiting), deliveries, held, gone, sink_change)

    async def _complete(self, items: Sequence[Completed]) -> list[bool]:
        """Store results and remove their inputs; False where the delivery was lost."""
        outcomes: list[bool] = []
        for gid, group in groupby(items, key=lambda item: item.gid):
            arguments: list[Any] = [gid]
            for item in group:
                arguments += item.arguments()
            outcomes += [done == 1 for done in await self._run("complete", arguments)]
        return outcomes

    async def _commit(self, items: Sequence[tuple[str, str, int]]) -> list[Committed]:
        """Commit (gid, uid, index)."""
        outcomes: list[Committed] = []
        for gid, group in groupby(items, key=lambda item: item[0]):
            arguments: list[Any] = [gid]
            for _, uid, index in group:
                arguments += (uid, index)
            reply = await self._run("commit", arguments)
            outcomes += [Committed(word.decode()) for word in reply]
        return outcomes

    async def _reject(self, items: Sequence[Rejected]) -> list[bool]:
        """Give deliveries back; False where one was no longer this user's."""
        outcomes: list[bool] = []
        for gid, group in groupby(items, key=lambda item: item.gid):
            arguments: list[Any] = [gid]
            for item in group:
                arguments += item.arguments()
            outcomes += [done == 1 for done in await self._run("reject", arguments)]
        return outcomes

    async def subscribe(self, subscription: Subscription) -> tuple[int, list[tuple[int, int]]]:
        """Register a subscriber; return what it still holds, and the claims that were lost."""
        narrow = subscription.newest_only or subscription.wanted != Filter()
        arguments: list[Any] = [
            subscription.gid,
            subscription.uid,
            subscription.session,
            subscription.window,
            subscription.lease_ms,
            subscription.wanted.to_json() if narrow else "",
            json.dumps(subscription.about),
            int(subscription.resident),
            int(subscription.newest_only),
        ]
        for index, attempt in subscription.claims:
            arguments += (index, attempt)
        held, lost = await self._run("subscribe", arguments)
        if held in (b"groups", b"users"):
            raise QuotaExceeded(held.decode(), limit=int(lost), count=int(lost))
        return int(held), [subscription.claims[int(position)] for position in lost]

    async def set_window(
        self,
        gid: str,
        uid: str,
        *,
        session: str,
        window: int,
        about: Mapping[str, object] | None = None,
    ) -> bool:
        """Change a window; False when the subscriber is no longer this connection's.

        about: as in Renewal.
        """
        new = "" if about is None else json.dumps(about)
        return bool(await self._run("set_window", [gid, uid, session, window, new]) == 1)

    async def renew(self, renewals: Sequence[Renewal]) -> dict[int, Gone]:
        """Renew leases; give the positions of those that are not this connection's any more."""
        arguments: list[Any] = []
        for one in renewals:
            about = "" if one.about is None else json.dumps(one.about)
            arguments += (one.gid, one.uid, one.session, one.lease_ms, about)
        reply = await self._run("renew", arguments)
        return {int(position): Gone(state) for position, state in reply}

    async def release(
        self, gid: str, uid: str, *, session: str, grace_ms: int, charged: bool = True
    ) -> int:
        """End a subscriber after a grace; give how many deliveries it held.

        These are none when a newer connection took over, because they are that one's now.
        charged: whether the deliveries count as attempts; only without a grace they may not.
        """
        reply = await self._run("release", [gid, uid, session, grace_ms, int(charged)])
        return max(0, int(reply))

    async def expire(self, lease_ms: int, *, looked_before: bool = False) -> Expired:
        """End leases that are over.

        looked_before: this process called it before, so it still holds its connections.  That
        shortens the extension of leases after a gap in which nobody could renew them.
        """
        arguments = [lease_ms, GROUP_REMEMBERED_MS, int(looked_before)]
        released, subscribers, wait_ms, stops, due_ms = await self._run("expire", arguments)
        return Expired(
            released=int(released),
            subscribers=int(subscribers),
            wait_ms=time_or_none(wait_ms),
            stops=int(stops),
            due_ms=time_or_none(due_ms),
        )

    async def overdue(self, subscribers: Sequence[tuple[str, str, str]]) -> Overdue:
        """Take back what these (group, user, session) have held for longer than max_idle."""
        wait_ms, *taken = await self._run("overdue", [name for one in subscribers for name in one])
        return Overdue(
            [
                Taken(gid.decode(), uid.decode(), int(index), int(attempt))
                for gid, uid, index, attempt in taken
            ],
            time_or_none(wait_ms),
        )

    async def restore(self, indexes: Iterable[int]) -> int:
        """Show taken entries to other reads again; give how many were still taken."""
        return int(await self._run("restore", list(indexes)))

    async def delete(self, indexes: Iterable[int], *, owner: str = "", taker: str = "") -> int:
        """Remove entries, all or an owner's, for all groups; give how many there were.

        taker: as in Read.
        """
        wanted, deleted = list(indexes), 0
        # A few go at once, as after a read that deletes; many are a walk.
        run = self._run if len(wanted) <= REMOVE_STEP else self.run_slice
        for first in range(0, len(wanted), REMOVE_STEP):
            step = wanted[first : first + REMOVE_STEP]
            deleted += sum(await run("delete", [owner, taker, *step]))
        return deleted

    async def truncate(self, below: int, *, owner: str = "") -> int:
        """Remove every entry below an index, all or an owner's; give how many there were."""
        if below < 1:
            # Nothing lies below the first index, and Redis has no name for such a range.
            return 0
        removed, step = 0, REMOVE_STEP
        while step == REMOVE_STEP:
            step = int(await self.run_slice("truncate", [below, REMOVE_STEP, owner]))
            removed += step
        return removed

    async def count(self, wanted: Filter, *, lane: int | None) -> int:
        """Count the entries that a filter wants, in both lanes or in one."""
        wish = "" if wanted == Filter() else wanted.to_json()
        only = "" if lane is None else str(lane)
        count, go_on, after = 0, b"0", b"0"
        # Without a filter nothing is walked over.
        run = self.run_slice if wish else self._run
        while go_on != b"":
            more, go_on, after = await run("count", [wish, only, go_on, after])
            count += more
        return int(count)

    async def newest(self, wanted: Filter, most: int) -> int | None:
        """Give the index of the first of the newest `most` that a filter wants, if any."""
        lowest, below, text = b"", b"", wanted.to_json()
        while most > 0:
            found, first, below = await self.run_slice("newest", [text, most, below])
            most, lowest = most - int(found), first or lowest
            if not below:
                break
        return int(lowest) if lowest else None

    async def end_stream(self, *, ended: bool, drop: bool) -> int:
        """Take no more puts, or take them again; drop what nobody holds, and give how many."""
        lane, after = (b"0" if drop else b""), b"0"
        dropped = 0
        while True:
            step, lane, after = await self.run_slice("end_stream", [int(ended), lane, after])
            dropped += int(step)
            if lane == b"":
                return dropped

    async def pause(self, *, paused: bool) -> None:
        """Deliver nothing of this queue, for every replica, or deliver again."""
        await self._run("pause", [int(paused)])

    async def drop(self) -> tuple[Dropped, Dropped]:
        """Remove both queues of the service; give what this one and the other had."""
        keys = [*self._keys, self._names.scale, self._names.interfaces]
        own, peer, own_dead, peer_dead = map(
            int, await self._run("drop", [self._rules.usage_ms], keys)
        )
        return Dropped(own, own_dead), Dropped(peer, peer_dead)

    async def search(
        self, gid: str, index: int, *, workers_gid: str, owner: str = ""
    ) -> Place | None:
        """Say where an entry, any or an owner's, is for this group; None when there is none."""
        reply = await self._run("search", [gid, index, workers_gid, owner])
        if not reply:
            return None
        uid, ahead = plain_name(reply[1].decode()), int(reply[2])
        return Place(reply[0] == b"1", uid, ahead, Quality(reply[3].decode()))

    async def attributes(self, owner: str = "") -> QueueState:
        """Describe the queue, its groups and its subscribers, or what is an owner's of them."""
        reply = await self._run("attributes", [owner])
        return read_state(reply)

    async def run(
        self, verb: str, arguments: Sequence[Any], *, more_keys: Sequence[str] = ()
    ) -> Any:
        """Run a verb that has its method elsewhere; raises StoreUnavailable or StoreError."""
        return await self._run(verb, arguments, [*self._keys, *more_keys])

    async def run_slice(self, verb: str, arguments: Sequence[Any]) -> Any:
        """Run one slice of a walk over many entries, when its turn has come."""
        async with self._scripts.slices.turn(self._names.service):
            return await self._run(verb, arguments)

    async def _run(
        self, verb: str, arguments: Sequence[Any], keys: Sequence[str] | None = None
    ) -> Any:
        return await self._scripts.ask(verb, keys or self._keys, (*self._first, *arguments))
