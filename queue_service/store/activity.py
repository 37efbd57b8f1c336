"""How many runs have ended lately, and how long they waited and took, in Redis.

Two bounded keys for each service: sums of each minute of a day, and the latest runs.  They are
written at most once a second by each process, however many runs end, and so never by the script
that stores a result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from queue_service.store.keys import Keys
from queue_service.store.store import Store

#: Minutes that are kept: a day.
DAY = 24 * 60
#: How many of the latest runs are kept.
LATEST = 512
#: For how long both are kept after the last run, in ms.
KEPT_MS = (DAY + 60) * 60_000


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has ended.  wait_ms: from the put to the start of its last attempt."""

    wait_ms: int
    run_ms: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Minute:
    """The runs that ended in one minute; times are sums."""

    runs: int = 0
    failed: int = 0
    wait_ms: int = 0
    run_ms: int = 0


@dataclass(frozen=True, slots=True)
class LatestRun:
    """One of the latest runs.  ended_ms: by Redis' clock."""

    ended_ms: int
    wait_ms: int
    run_ms: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Activity:
    """What has ended lately.

    minutes: oldest first; the last one is not over yet.  latest: newest first.
    """

    now_ms: int
    minutes: tuple[Minute, ...]
    latest: tuple[LatestRun, ...]


class ActivityStore:
    """The activity of one service.  store: that of its input queue."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = [keys.activity, keys.latest_runs]

    async def note_activity(self, runs: Sequence[EndedRun]) -> None:
        """Count runs that have ended."""
        arguments = [DAY, LATEST, KEPT_MS]
        for run in runs:
            arguments += (run.wait_ms, run.run_ms, int(run.failed))
        await self._store.run("note_activity", arguments, more_keys=self._keys)

    async def look_at_activity(self, minutes: int) -> Activity:
        """Return the sums of the last minutes, at most a day's, and the latest runs."""
        reply = await self._store.run("look_at_activity", [DAY, minutes], more_keys=self._keys)
        now_ms, sums, latest = reply
        return Activity(
            int(now_ms),
            tuple(Minute(*map(int, text.split()[1:])) if text else Minute() for text in sums),
            tuple(_latest(text) for text in latest),
        )


def _latest(text: bytes) -> LatestRun:
    ended, wait, run, failed = map(int, text.split())
    return LatestRun(ended, wait, run, bool(failed))
