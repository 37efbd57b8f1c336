"""Results that wait in the sink: whether they stop deliveries, and which of them were read."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from queue_service.delivery.dispatcher import STORE_PAUSE_S
from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import StoreError, StoreUnavailable
from queue_service.process.metrics import QueueMetrics
from queue_service.service.sink_wording import why_full
from queue_service.store.outcomes import SinkChange, SinkState
from queue_service.store.owners import EVERYBODYS
from queue_service.store.ticket import Seen
from queue_service.store.tickets import TicketStore

log = logging.getLogger(__name__)

#: A state is this old at most, in seconds: many puts are refused at once when the sink is full.
STATE_S = 1.0
#: The number of owners whose states are kept.
MOST_STATES = 1000
#: Reads are noted no more often than this, in seconds: one call for all of that time.
NOTE_PAUSE_S = 0.1
#: Reads that one call notes, and that wait for it at most.  Beyond that they count as unread.
MOST_NOTED, MOST_WAITING = 500, 50_000


class SinkWatch:
    """The state of one service's sink, for its clients and operators.

    metrics: of the sink.
    """

    def __init__(self, service: str, store: TicketStore, metrics: QueueMetrics) -> None:
        self._service = service
        self._store = store
        self._metrics = metrics
        self._states: dict[str, tuple[float, SinkState]] = {}
        self._read: dict[str, int] = {}
        self._new_reads, self._new_change = Doorbell(), Doorbell()
        self._change: SinkChange | None = None

    async def run(self) -> None:
        """Note reads and report changes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(self._new_reads, self._note_reads, NOTE_PAUSE_S))
            group.create_task(self._keep(self._new_change, self._report, 0.0))

    async def state(self, owner: str = EVERYBODYS.owner) -> SinkState:
        """Return the state for an owner, "" for the service itself; no older than a second."""
        now_s = time.monotonic()
        at_s, state = self._states.get(owner, (0.0, None))
        if state is None or now_s - at_s > STATE_S:
            state = await self._store.sink_state(owner)
            if len(self._states) >= MOST_STATES:
                self._states.clear()
            self._states[owner] = now_s, state
        return state

    async def state_if_full(self, owner: str) -> SinkState | None:
        """Return the state for an owner, if its jobs wait for room; None too if it is not known."""
        try:
            state = await self.state(owner)
        except (StoreUnavailable, StoreError):
            # It only explains another error.
            return None
        return state if state.stops else None

    async def state_for(self, seen: Seen) -> SinkState | None:
        """Return the state if a waiting job waits for room in the sink."""
        is_waiting = not (seen.has_ended or seen.held or seen.ticket.get("delayed"))
        if not is_waiting or not seen.crew.blocked:
            return None
        return await self.state_if_full(seen.owner)

    @staticmethod
    def is_unread(seen: Seen) -> bool:
        """Say whether to note that its result is read: one that is kept after that, for a time."""
        index, ticket = seen.result_index, seen.ticket
        return bool(index and ticket.get("keep_ms")) and ticket.get("read_of") != str(index)

    def note_read(self, seen: Seen) -> None:
        """The owner of a result has received all of it.

        What is not stored yet when this process ends counts as unread.
        """
        if seen.result_index is not None and len(self._read) < MOST_WAITING:
            self._read[seen.request_id] = seen.result_index
            self._new_reads.ring()

    def changed(self, change: SinkChange) -> None:
        """A delivery of this process has found that the sink is full, or has room again."""
        if change is SinkChange.FULL:
            self._metrics.fillings.inc()
        self._change = change
        self._new_change.ring()

    async def _note_reads(self) -> None:
        while self._read:
            some = list(self._read.items())[:MOST_NOTED]
            await self._store.mark_read(some)
            for name, index in some:
                # It may have been read again meanwhile, with another index.
                if self._read.get(name) == index:
                    del self._read[name]

    async def _report(self) -> None:
        change = self._change
        if change is SinkChange.ROOM:
            log.info("Service %s: the sink has room again.", self._service)
        elif change is SinkChange.FULL:
            state = await self._store.sink_state(EVERYBODYS.owner)
            log.warning("Service %s is stuck: %s.", self._service, why_full(state))
        if self._change is change:
            self._change = None

    async def _keep(
        self, bell: Doorbell, work: Callable[[], Awaitable[None]], pause_s: float
    ) -> None:
        seen = 0
        while True:
            seen = await bell.wait(seen)
            try:
                await work()
            except (StoreUnavailable, StoreError) as error:
                log.debug("The sink of %s: %s", self._service, error)
                await asyncio.sleep(STORE_PAUSE_S)
                bell.ring()
            await asyncio.sleep(pause_s)
