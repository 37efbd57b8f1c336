"""How busy a service has been: runs that ended, how long they waited, how many failed.

Each process stores what ended there, once a second at most, so every replica shows the same.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import StoreError, StoreUnavailable
from queue_service.service.estimate import quantile
from queue_service.store.activity import Activity, ActivityStore, EndedRun, Minute

log = logging.getLogger(__name__)

#: The least time between two writes, in seconds.
WRITE_S = 1.0
#: The most runs that one process keeps unwritten; while Redis is away, the oldest are forgotten.
MOST_UNWRITTEN = 2000
#: The minutes that a rate covers, with the current one, and those that quantiles cover.
RATE_MINUTES, WAIT_MINUTES = 5, 15


@dataclass(frozen=True, slots=True)
class Pace:
    """Numbers of the last minutes; None where nothing is known.

    per_minute: runs that ended, over the last RATE_MINUTES.  runs, failed: of the minutes that were
    asked for.  wait_p50_s to run_p95_s: of the latest runs, at most WAIT_MINUTES old.
    """

    per_minute: float
    runs: int
    failed: int
    wait_p50_s: float | None
    wait_p95_s: float | None
    run_p50_s: float | None
    run_p95_s: float | None
    minutes: tuple[Minute, ...]


class ActivityLog:
    """The activity of one service, in one process."""

    def __init__(self, store: ActivityStore) -> None:
        self._store = store
        self._unwritten: deque[EndedRun] = deque(maxlen=MOST_UNWRITTEN)
        self._new = Doorbell()

    def note(self, run: EndedRun) -> None:
        """Note a run that has ended here."""
        if not self._unwritten:
            self._new.ring()
        self._unwritten.append(run)

    async def pace(self, minutes: int) -> Pace:
        """Return the numbers of the last minutes, the current one among them."""
        return pace_of(await self._store.look_at_activity(max(minutes, RATE_MINUTES)), minutes)

    async def run(self) -> None:
        """Store what was noted, until cancelled."""
        seen = 0
        while True:
            seen = await self._new.wait(seen)
            await asyncio.sleep(WRITE_S)
            runs = list(self._unwritten)
            self._unwritten.clear()
            try:
                await self._store.note_activity(runs)
            except (StoreUnavailable, StoreError) as error:
                log.debug("Ended runs were not stored: %s", error)
                # Not `extendleft`, which would drop the newest.
                self._unwritten = deque((*runs, *self._unwritten), maxlen=MOST_UNWRITTEN)
                self._new.ring()


def pace_of(activity: Activity, minutes: int) -> Pace:
    """Derive the numbers from what is stored."""
    recent = activity.minutes[-RATE_MINUTES:]
    # The current minute has only begun.
    span_s = (RATE_MINUTES - 1) * 60 + activity.now_ms % 60_000 / 1000
    since_ms = activity.now_ms - WAIT_MINUTES * 60_000
    latest = [run for run in activity.latest if run.ended_ms >= since_ms]
    waits = sorted(run.wait_ms for run in latest)
    runs = sorted(run.run_ms for run in latest)
    wanted = activity.minutes[-minutes:]
    return Pace(
        per_minute=sum(one.runs for one in recent) * 60 / span_s,
        runs=sum(one.runs for one in wanted),
        failed=sum(one.failed for one in wanted),
        wait_p50_s=_seconds(waits, 0.5),
        wait_p95_s=_seconds(waits, 0.95),
        run_p50_s=_seconds(runs, 0.5),
        run_p95_s=_seconds(runs, 0.95),
        minutes=wanted,
    )


def _seconds(ordered_ms: list[int], share: float) -> float | None:
    return quantile(ordered_ms, share) / 1000 if ordered_ms else None
