"""The figures of autoscaling in Redis, and the lease under which one autoscaler decides.

The lease and what the autoscaler reported last are one hash.  The lease ends by comparison with
Redis' clock, so nothing has to run when it does, and the report outlives it: the next autoscaler
continues from what the last one left.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from queue_service.store.keys import Keys
from queue_service.store.owners import plain_name
from queue_service.store.store import Store

#: How long a report is kept after its lease ended, in ms: as long as the longest window.
KEPT_MS = 24 * 3600 * 1000
#: The fields of the hash that every read wants, in the order of `Report`.
_FIELDS = (
    "holder",
    "until",
    "decided_at",
    "existing",
    "wanted",
    "reason",
    "driver_error",
    "load_s",
    "window",
)
_HISTORY = "history"


@dataclass(frozen=True, slots=True)
class ConnectedWorker:
    """A subscriber of the workers' group.

    about: what it says of itself.  leaving: it was asked to leave.
    """

    uid: str
    window: int
    held: int
    connected: bool
    about: Mapping[str, Any]
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Waiting jobs whose deadlines lie close together; all count with the first one's.

    to_finish: the jobs must have finished by then; otherwise they must have started.
    """

    count: int
    within_ms: int
    to_finish: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What an autoscaler reported last; None for what it never did.

    until_ms, decided_at_ms: by Redis' clock.  load_s, window: of the workers, when it reported.
    """

    holder: str | None = None
    until_ms: int = 0
    decided_at_ms: int | None = None
    existing: int | None = None
    wanted: int | None = None
    reason: str | None = None
    driver_error: str | None = None
    load_s: float | None = None
    window: int | None = None
    history: Mapping[str, Any] | None = None

    @classmethod
    def from_reply(cls, reply: Sequence[bytes | None]) -> Self:
        """Read the values of the fields."""
        texts = [None if value in (None, b"") else value.decode() for value in reply]
        holder, until, decided_at, existing, wanted, reason, error, load_s, window, *more = texts
        return cls(
            holder,
            int(until or 0),
            _int(decided_at),
            _int(existing),
            _int(wanted),
            reason,
            error,
            None if load_s is None else float(load_s),
            _int(window),
            json.loads(more[0]) if more and more[0] else None,
        )


@dataclass(frozen=True, slots=True)
class ScaleState:
    """A service as a decision about its workers needs it.

    roomy: workers with room for another job.  put_total: entries that were put so far.
    paused: nothing is delivered.  deliverable: of the waiting entries, those that another worker
    would get now.  sink_full: results that nobody has read fill the sink.
    """

    now_ms: int
    waiting: int
    held: int
    roomy: int
    put_total: int
    oldest_at_ms: int | None
    workers: tuple[ConnectedWorker, ...]
    deadlines: tuple[Deadlines, ...]
    report: Report
    paused: bool
    deliverable: int
    sink_full: bool = False


@dataclass(frozen=True, slots=True)
class NewReport:
    """What an autoscaler reports; None leaves what was reported before.

    driver_error: "" for none.
    """

    existing: int | None = None
    wanted: int | None = None
    reason: str | None = None
    driver_error: str | None = None
    load_s: float | None = None
    window: int | None = None
    history: str | None = None


@dataclass(frozen=True, slots=True)
class HeldLease:
    """Another autoscaler has the lease, for this much longer."""

    holder: str
    left_ms: int


class ScaleStore:
    """The figures and the lease of one service.  store: that of its input queue."""

    def __init__(self, store: Store, keys: Keys, *, gid: str) -> None:
        self._store = store
        self._key = keys.scale
        self._gid = gid

    async def scale(self, limits: Mapping[str, int], *, with_history: bool = False) -> ScaleState:
        """Return the figures of this moment, and the last report.

        limits: how many entries may run at once, by account, of those that tokens limit.
        """
        wanted = (*_FIELDS, _HISTORY) if with_history else _FIELDS
        reply = await self._store.run(
            "scale", [self._gid, json.dumps(limits), *wanted], more_keys=[self._key]
        )
        now_ms, waiting, held, roomy, last, oldest, workers, deadlines, report, *more = reply
        paused, deliverable, sink_full = more
        return ScaleState(
            int(now_ms),
            max(0, int(waiting)),
            int(held),
            int(roomy),
            int(last),
            int(oldest) if oldest else None,
            tuple(
                ConnectedWorker(
                    plain_name(uid.decode()),
                    int(window),
                    int(held),
                    connected == b"1",
                    json.loads(about),
                    leaving == b"1",
                )
                for uid, window, held, connected, about, leaving in workers
            ),
            tuple(
                Deadlines(int(count), int(within_ms), kind == b"finish")
                for kind, within_ms, count in deadlines
            ),
            Report.from_reply(report),
            paused == b"1",
            int(deliverable),
            sink_full == b"1",
        )

    async def report_scale(self, holder: str, new: NewReport, *, lease_ms: int) -> HeldLease | None:
        """Take or renew the lease and report; None, or who else has the lease."""
        values = {one.name: getattr(new, one.name) for one in fields(new)}
        pairs = [part for pair in values.items() if pair[1] is not None for part in pair]
        decided = int(new.wanted is not None)
        return await self._run(holder, lease_ms, lease_ms + KEPT_MS, decided, *pairs)

    async def give_back(self, holder: str) -> HeldLease | None:
        """End the lease of this autoscaler; None, or who else has it."""
        return await self._run(holder, 0, KEPT_MS, 0)

    async def _run(self, *arguments: Any) -> HeldLease | None:
        reply = await self._store.run("report_scale", arguments, more_keys=[self._key])
        if reply[0] == b"held":
            return HeldLease(reply[1].decode(), int(reply[2]))
        return None


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)
