"""Requests that are remembered, in Redis: a method for each verb that is about them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from client_sdk.wire.events import LOG
from queue_service.store.batching import Batcher
from queue_service.store.keys import Keys
from queue_service.store.outcomes import (
    Due,
    NotStored,
    Purged,
    SinkState,
    Submitted,
    read_submitted,
    time_or_none,
)
from queue_service.store.store import Store
from queue_service.store.ticket import (
    Canceled,
    Event,
    Leaving,
    Listed,
    Newest,
    Noted,
    Part,
    Seen,
    Stop,
    Submission,
    parse_crew,
    parse_seen,
)

#: How many of the latest run times are kept for estimates.
HISTORY_LENGTH = 512
#: For how long, in ms, after the last: a week.
HISTORY_MS = 7 * 24 * 3600 * 1000
#: Most events of one read.
EVENTS_AT_ONCE = 500
#: Run times of at most this many entries of a worker are read to choose a worker that leaves.
MOST_RUNS = 50
#: A result up to this size is read together with the look that finds it, in bytes.
SMALL_BYTES = 64 * 1024
#: Where each part of the list of requests begins.
LIST_BEGIN = "0"
#: Most request ids of one list call, whose entries are read for them.
LIST_STEP = 100


class TicketStore:
    """The tickets of one service.

    store: that of its input queue.
    """

    def __init__(self, store: Store, keys: Keys, *, gid: str) -> None:
        self._store = store
        self._names = keys
        self._gid = gid

        #: Each takes one item and gives a future of its outcome; see the method it sends by.
        self.submit: Batcher[Submission, Submitted | NotStored] = Batcher(
            self._submit, weigh=lambda item: len(item.data)
        )
        # Each reads a whole entry: no more of them at once than a slice of a walk.
        self.look: Batcher[str, Seen] = Batcher(self._look, most=LIST_STEP)
        self.look_for_result: Batcher[str, Seen] = Batcher(self._look_for_result, most=LIST_STEP)
        self.cancel: Batcher[str, Canceled] = Batcher(self._cancel)
        self.note: Batcher[Noted, bool] = Batcher(self._note, weigh=lambda item: item.size_bytes)
        self.events: Batcher[tuple[str, int], list[Event]] = Batcher(self._read_events, most=64)

    async def _submit(self, items: Sequence[Submission]) -> list[Submitted | NotStored]:
        """Put requests and keep a ticket of each."""
        keys: list[str] = []
        arguments: list[Any] = [self._gid]
        for item in items:
            if item.submission_key:
                keys.append(self._names.submission(item.stored(item.submission_key)))
            if item.putter is not None and item.putter.rate_per_s:
                keys.append(self._names.rate(item.putter.token_id))
            arguments += (
                item.stored(item.request_id),
                item.tags_json(),
                item.data,
                1 if item.priority > 0 else 0,
                item.path,
                item.content_type,
                item.ticket_json(),
                item.digest,
                item.begin_ms,
                item.start_by_ms,
                item.finish_by_ms,
                1 if item.submission_key else 0,
                "" if item.putter is None else item.putter.to_text(),
                int(item.looks),
            )
        crew, *replies = await self._store.run("submit", arguments, more_keys=keys)
        return [read_submitted(reply, crew) for reply in replies]

    async def _look(self, request_ids: Sequence[str]) -> list[Seen]:
        """Say where requests are."""
        return await self._look_with(0, request_ids)

    async def _look_for_result(self, request_ids: Sequence[str]) -> list[Seen]:
        """Say where requests are, and read their results if they are small."""
        return await self._look_with(SMALL_BYTES, request_ids)

    async def _look_with(self, most_bytes: int, request_ids: Sequence[str]) -> list[Seen]:
        reply = await self._store.run("look", [self._gid, most_bytes, *request_ids])
        crew, now_ms = parse_crew(reply[:3])
        return [
            parse_seen(request_id, item, crew=crew, now_ms=now_ms)
            for request_id, item in zip(request_ids, reply[3:], strict=True)
        ]

    async def _cancel(self, request_ids: Sequence[str]) -> list[Canceled]:
        """End requests, or have workers stop them."""
        reply = await self._store.run("cancel", request_ids)
        return [Canceled(word.decode()) for word in reply]

    async def stops(self) -> list[Stop]:
        """What workers are to stop now."""
        reply = await self._store.run("stops", [self._gid])
        return [Stop(uid.decode(), int(index), int(attempt)) for uid, index, attempt in reply]

    async def leave(self, uids: Sequence[str]) -> list[Leaving]:
        """Have workers leave: they get nothing more, and end when they have finished."""
        said = await self._store.run("leave", [self._gid, *uids])
        return [Leaving(word.decode()) for word in said]

    async def runs(self, uids: Sequence[str]) -> list[list[float | None]]:
        """For how many seconds each worker has run what it holds; None where that is unknown."""
        reply = await self._store.run("runs", [self._gid, MOST_RUNS, *uids])
        return [[None if ms < 0 else ms / 1000 for ms in runs] for runs in reply]

    async def _note(self, items: Sequence[Noted]) -> list[bool]:
        """Write down what engines have told; False where the delivery was lost."""
        outcomes: list[bool] = []
        for (gid, most), group in groupby(items, key=lambda item: (item.gid, item.artifact_bytes)):
            arguments: list[Any] = [gid, most]
            keys = []
            for item in group:
                is_log = item.kind == LOG
                key_of = self._names.log if is_log else self._names.events
                keys.append(key_of(item.request_id))
                arguments += (
                    item.uid,
                    item.index,
                    item.attempt,
                    item.request_id,
                    item.said,
                    item.kind,
                    item.data,
                    item.tokens,
                    item.chunks,
                )
            reply = await self._store.run("note", arguments, more_keys=keys)
            outcomes += [done == 1 for done in reply]
        return outcomes

    async def _read_events(self, reads: Sequence[tuple[str, int]]) -> list[list[Event]]:
        """Read the events of (request id, number after which to go on), some at a time."""
        keys = [self._names.events(request_id) for request_id, _ in reads]
        arguments = [EVENTS_AT_ONCE, *(after for _, after in reads)]
        return [
            [
                Event(int(number), kind.decode(), int(attempt), data, int(tokens), chunks)
                for number, kind, attempt, data, tokens, chunks in found
            ]
            for found in await self._store.run("events", arguments, more_keys=keys)
        ]

    async def read_log(self, request_id: str, after: int) -> list[Event]:
        """Read the log of a request after an event's number, some events at a time."""
        arguments = [request_id, after, EVENTS_AT_ONCE]
        found = await self._store.run(
            "read_log", arguments, more_keys=[self._names.log(request_id)]
        )
        return [
            Event(int(number), kind.decode(), int(attempt), data, 0)
            for number, kind, attempt, data in found
        ]

    async def owners(self, request_id: str) -> "list[str]":
        """Some owners, two at most, that have something under a request id."""
        found: list[bytes] = await self._store.run("owners", [request_id])
        return [owner.decode() for owner in found]

    async def due(self) -> Due:
        """Do what is due now."""
        done, wait_ms = await self._store.run("due", [])
        return Due(int(done), time_or_none(wait_ms))

    async def purge_ticket(self, request_id: str, *, at_end: bool = False) -> Purged:
        """Remove everything that is stored of a request that has ended.

        at_end: of one that has not ended, keep nothing when it does; the outcome is still OPEN.
        """
        keys = [self._names.events(request_id), self._names.log(request_id)]
        arguments = [request_id, int(at_end)]
        word: bytes = await self._store.run("purge_ticket", arguments, more_keys=keys)
        return Purged(word.decode())

    async def mark_read(self, results: Sequence[tuple[str, int]]) -> int:
        """Note which (request id, index) the owners of results have read; give how many are new."""
        return int(await self._store.run("mark_read", [part for one in results for part in one]))

    async def free_files(self, size_bytes: int) -> int:
        """Drop results that were read until their files have this size; give what they have."""
        freed, after = 0, b""
        while freed < size_bytes:
            more, after = await self._store.run_slice("free_files", [size_bytes - freed, after])
            freed += int(more)
            if not after:
                break
        return freed

    async def sink_state(self, owner: str) -> SinkState:
        """Say whether unread results stop deliveries, as an owner may know it."""
        full, share_used, unread, next_ms, since_ms = await self._store.run("sink_state", [owner])
        return SinkState(
            owner,
            full == b"1",
            share_used == b"1",
            int(unread),
            time_or_none(next_ms),
            int(since_ms),
        )

    async def history(self, held_ms: Sequence[int]) -> list[int]:
        """Add to how long deliveries were held, and give what is known, the newest first."""
        arguments = [HISTORY_LENGTH, HISTORY_MS, *held_ms[-HISTORY_LENGTH:]]
        reply = await self._store.run("history", arguments, more_keys=[self._names.history])
        return [int(number) for number in reply]

    async def listed(
        self, name: str, owner: str, *, after: Listed | None, newest_first: bool, most: int
    ) -> "list[Listed]":
        """Give some of an owner's jobs in the list of an API, in the order of their creation."""
        place = [after.put_at_ms, after.name] if after else ["", ""]
        arguments = [owner, name, int(newest_first), *place, most]
        reply: list[bytes] = await self._store.run("listed", arguments)
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return [Listed(int(at), stored.decode()) for at, stored in pairs]

    async def list_newest(
        self, part: Part, before: str, *, most: int, owner: str = ""
    ) -> tuple[bool, list[Newest]]:
        """Say whether there may be more, and give requests, the newest first.

        before: the place of an earlier one, "" at first.  owner: whose alone; "" for all.
        """
        arguments = [part, before, min(most, LIST_STEP), owner, self._gid]
        more, *found = await self._store.run_slice("list_newest", arguments)
        return more == b"1", [
            Newest(name.decode(), int(at_ms or 0), place.decode(), tags)
            for name, at_ms, place, tags in found
        ]

    async def list(
        self, part: Part, start: str, *, most: int, owner: str = ""
    ) -> tuple[str | None, list[str]]:
        """Give where to go on, or None at the end, and names as they are stored.

        start: where an earlier call said to go on, or LIST_BEGIN.  owner: whose alone; "" for all.
        """
        arguments = [part, start, min(most, LIST_STEP), owner]
        go_on, *found = await self._store.run_slice("list", arguments)
        return go_on.decode() or None, [request_id.decode() for request_id in found]
