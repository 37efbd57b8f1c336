"""Requests with a ticket: submitted, looked up, followed, cancelled.

The state of a request is that of its ticket or, without a ticket, what both queues say about it.
"""

import asyncio
import logging
import operator
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from queue_service.delivery.dispatcher import STORE_PAUSE_S
from queue_service.delivery.doorbell import Doorbell
from queue_service.delivery.ticket_bells import TicketBells
from queue_service.errors import StoreError, StoreUnavailable
from queue_service.service.estimate import Estimate, RunTimes, estimate
from queue_service.service.follow import Crowd, Follow
from queue_service.service.queues import Queue
from queue_service.service.sink_watch import SinkWatch
from queue_service.service.ticket_timers import TicketTimers
from queue_service.settings.process import Settings
from queue_service.settings.windows import Windows, opens_after
from queue_service.store.batching import all_of
from queue_service.store.keys import Keys
from queue_service.store.outcomes import NotStored, Submitted
from queue_service.store.owners import plain_name
from queue_service.store.ticket import (
    Event,
    Noted,
    Seen,
    State,
    Submission,
)
from queue_service.store.tickets import HISTORY_LENGTH, TicketStore

log = logging.getLogger(__name__)

#: How long a follower waits for a ring, in seconds, if it does not say.
LONGEST_WAIT_S = 3600.0
#: Run times are written down and read again no more often than this, in seconds.
HISTORY_S = 1.0


def _later(windows: Sequence[Windows], now_ms: int, begin_s: float, work_s: float) -> float | None:
    at_ms = opens_after(windows, now_ms + round(begin_s * 1000), work_s * 1000)
    return None if at_ms is None else max(0.0, (at_ms - now_ms) / 1000)


class Tickets:
    """The tickets of one service, in one process."""

    def __init__(
        self,
        queue: Queue,
        keys: Keys,
        bells: TicketBells,
        settings: Settings,
        *,
        gid: str,
        sink: Queue,
    ) -> None:
        self._bells = bells
        self.keep_ms = settings.result_retention_ms
        self.told_ms = settings.ticket_ttl_ms
        self._queue = queue
        self._sink_bell = sink.bell
        self._store = TicketStore(queue.store, keys, gid=gid)
        self.sink = SinkWatch(queue.service, self._store, sink.metrics)
        queue.on_sink_change(self.sink.changed)
        queue.files.drop_read = self._store.free_files
        for one in (queue, sink):
            one.refusals.state_if_full = self.sink.state_if_full
        self._timers = TicketTimers(queue, self._store, bells, gid=gid)
        #: Each takes one item and gives a future of its outcome; see TicketStore.
        self.look = self._store.look
        self.look_for_result = self._store.look_for_result
        self.cancel = self._store.cancel
        self.purge = self._store.purge_ticket
        self.list = self._store.list
        self.listed = self._store.listed
        self.list_newest = self._store.list_newest
        self.owners = self._store.owners
        self.read_log = self._store.read_log
        self.leave = self._store.leave
        self.runs = self._store.runs
        self._left_over: dict[str, None] = {}
        self._new_left_over = Doorbell()
        self._run_times: deque[int] = deque(maxlen=HISTORY_LENGTH)
        self._new_runs = Doorbell()
        self._history = RunTimes.of(())
        self._history_at = 0.0
        self._crowd = Crowd()

    async def run(self) -> None:
        """Run the timers and keep the history, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._timers.run())
            group.create_task(self._keep_history())
            group.create_task(self._keep_discarding())
            group.create_task(self.sink.run())

    async def submit(self, submission: Submission) -> Submitted:
        """Put a request and keep a ticket of it.

        With nothing stored it raises FrameTooBig, FilesFull, QueueFull, QueueEnded, QuotaExceeded,
        BadParameter for a time that has passed, or IdInUse if the id or the key belongs to a
        different request of this owner.
        """
        queue = self._queue
        limits = queue.limits
        submission = await queue.files.offload(submission, limits)
        stored = await self._store.submit(submission)
        await queue.files.settle(submission.files)
        if isinstance(stored, NotStored):
            putter = submission.putter
            raise await queue.refusals.error(
                stored,
                request_id=submission.request_id,
                putter=putter,
                owner=putter.owner if putter else "",
                capacity=limits.capacity,
            )
        if stored.is_new:
            queue.metrics.puts.inc()
            if submission.begin_ms or submission.start_by_ms or submission.finish_by_ms:
                # This process learns when the next time comes.
                self._bells.due.ring()
        return stored

    async def discard(self, request_id: str) -> None:
        """Cancel a request that no client waits for, and keep nothing of it.

        If Redis is unavailable, this runs when it returns; nothing else would clean up.
        """
        try:
            await self._discard(request_id)
        except StoreUnavailable:
            self._left_over[request_id] = None
            self._new_left_over.ring()

    def follow(
        self,
        request_id: str,
        *,
        also: Sequence[Doorbell] = (),
        given_up: Callable[[], bool] = lambda: False,
        longest_wait_s: Callable[[], float] = lambda: LONGEST_WAIT_S,
        looks_in_silence: bool = True,
        ends_only: bool = False,
        watches_position: bool = False,
        least_pause_s: float = 0.0,
    ) -> Follow:
        """Give where a request is each time that it may have changed, until it ends.

        ends_only: only when it may have ended; then with its result, if that is small.
        """
        bells = self._bells
        return Follow(
            request_id,
            self.look_for_result if ends_only else self.look,
            bell=bells.of_end(request_id) if ends_only else bells.of(request_id),
            input_bell=self._queue.bell,
            sink_bell=self._sink_bell,
            crowd=self._crowd,
            also=also,
            given_up=given_up,
            longest_wait_s=longest_wait_s,
            looks_in_silence=looks_in_silence,
            watches_position=watches_position,
            least_pause_s=least_pause_s,
        )

    async def events(self, request_id: str, after: int) -> list[Event]:
        """Return events of a request after an event's number, some at a time."""
        return await self._store.events((request_id, after))

    async def note(self, items: list[Noted]) -> None:
        """Store what workers have reported about running deliveries."""
        await all_of([self._store.note(item) for item in items])

    def note_run(self, seconds: float) -> None:
        """Note how long a delivery was held until it was completed."""
        if not self._run_times:
            self._new_runs.ring()
        self._run_times.append(max(1, round(seconds * 1000)))

    async def estimate(self, seen: Seen, windows: Sequence[Windows] = ()) -> Estimate | None:
        """Say when a request may start and finish; None when nothing is known about that.

        windows: those in which it may start.
        """
        if seen.waits_for_resume or await self.sink.state_for(seen):
            return None
        run_times = await self.run_times()
        started_ms = int(seen.ticket.get("started_at", 0))
        running = seen.state is State.RUNNING
        return estimate(
            run_times,
            ahead=seen.ahead,
            busy=seen.crew.held,
            free=seen.crew.roomy,
            elapsed_s=max(0, seen.now_ms - started_ms) / 1000 if running and started_ms else None,
            running=running,
            delay_s=self._delay_s(seen),
            later=partial(_later, windows, seen.now_ms) if windows else operator.add,
        )

    async def run_times(self) -> RunTimes:
        """Return recent run times, no older than a second."""
        if time.monotonic() - self._history_at > HISTORY_S:
            await self._read_history()
        return self._history

    @staticmethod
    def _delay_s(seen: Seen) -> float:
        begin_ms = int(seen.ticket["begin_at"]) if seen.ticket.get("delayed") else 0
        return max(0.0, (max(begin_ms, seen.paused_until_ms) - seen.now_ms) / 1000)

    async def _read_history(self) -> None:
        self._history_at = time.monotonic()
        new = list(self._run_times)
        self._run_times.clear()
        try:
            runs_ms = await self._store.history(new)
        except StoreUnavailable:
            self._run_times.extendleft(reversed(new))
            raise
        self._history = RunTimes.of(run_ms / 1000 for run_ms in runs_ms)

    async def _keep_history(self) -> None:
        seen = 0
        while True:
            seen = await self._new_runs.wait(seen)
            await asyncio.sleep(HISTORY_S)
            try:
                if self._run_times:
                    await self._read_history()
            except (StoreUnavailable, StoreError) as error:
                log.debug("Run times were not written down: %s", error)
                self._new_runs.ring()

    async def _discard(self, request_id: str) -> None:
        await self.cancel(request_id)
        await self.purge(request_id, at_end=True)

    async def _keep_discarding(self) -> None:
        seen = 0
        while True:
            seen = await self._new_left_over.wait(seen)
            while self._left_over:
                request_id = next(iter(self._left_over))
                try:
                    await self._discard(request_id)
                except StoreUnavailable:
                    await asyncio.sleep(STORE_PAUSE_S)
                    continue
                except StoreError:
                    log.exception("Request %s was not discarded.", plain_name(request_id))
                del self._left_over[request_id]
