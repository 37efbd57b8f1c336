"""The figures of autoscaling of one service, and the lease of the autoscaler that decides.

Each read is one script, whatever the depth of the queue.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, median_high
from typing import Any

from client_sdk.wire.load import WorkerState
from queue_service.service.estimate import RunTimes, estimate
from queue_service.store.keys import Keys
from queue_service.store.scaling import (
    ConnectedWorker,
    Deadlines,
    HeldLease,
    NewReport,
    Report,
    ScaleState,
    ScaleStore,
)
from queue_service.store.store import Store

#: The reason while no autoscaler has the lease.
NOBODY = "no autoscaler is running for this service"


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """The workers of a service by state.

    starting: reported by the autoscaler, and not connected yet.  resting: the engine is being
    restarted.  draining: about to leave.
    """

    starting: int = 0
    ready: int = 0
    resting: int = 0
    draining: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.starting + self.ready + self.resting + self.draining


@dataclass(frozen=True, slots=True)
class DueEntries:
    """The number of waiting jobs that must start within a time."""

    count: int
    within_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What the autoscaler reported last, while its lease is in force; otherwise only the reason."""

    wanted: int | None = None
    existing: int | None = None
    reason: str = NOBODY
    driver_error: str | None = None
    decided_s_ago: float | None = None


@dataclass(frozen=True, slots=True)
class ScaleFigures:
    """The figures of one service; None where nothing is known.

    window: jobs that the ready workers can run at once.  oldest_s: since the oldest entry was put,
    be it waiting or running.  wait_s: how long a new job would wait, by the estimate.  run_s: mean
    time of a run.  load_s: from the start of a worker until it accepts jobs.  cpu: mean use of the
    workers' CPUs, in percent.  put_total: entries put so far.  due: soonest first.
    paused: nothing is delivered, so that more workers would not help.  deliverable: of the waiting
    entries, those that another worker would get now.  sink_full: unread results fill the
    sink, so that is 0.
    """

    waiting: int
    running: int
    workers: WorkerCounts
    window: int
    window_per_worker: int | None
    oldest_s: float | None
    wait_s: float | None
    run_s: float | None
    load_s: float | None
    cpu: float | None
    put_total: int
    due: tuple[DueEntries, ...]
    decision: Decision
    paused: bool
    deliverable: int
    history: Mapping[str, Any] | None = None
    sink_full: bool = False

    @property
    def backlog_per_worker(self) -> float:
        """Waiting jobs per worker that exists and is not leaving."""
        return self.waiting / max(1, self.workers.total - self.workers.draining)


class Scaling:
    """The figures and the lease of one service.

    store: that of its input queue.  run_times: returns those of the last jobs.
    limits: returns how many jobs may run at once, by account, of those that tokens limit.
    """

    def __init__(
        self, store: Store, keys: Keys, run_times: Callable[[], Awaitable[RunTimes]], *, gid: str
    ) -> None:
        self._store = ScaleStore(store, keys, gid=gid)
        self._run_times = run_times
        self.limits: Callable[[], Mapping[str, int]] = dict

    async def figures(self) -> ScaleFigures:
        """Return the figures of this moment."""
        run_times = await self._run_times()
        return figures_of(await self._store.scale(self.limits()), run_times)

    async def report(
        self, holder: str, new: NewReport, *, lease_ms: int
    ) -> ScaleFigures | HeldLease:
        """Take or renew the lease and report; return the figures, or who else has the lease."""
        held = await self._store.report_scale(holder, new, lease_ms=lease_ms)
        if held is not None:
            return held
        run_times = await self._run_times()
        state = await self._store.scale(self.limits(), with_history=True)
        # What workers have measured is stored too: it is needed while there are none.
        if (measured := _new_measurements(state)) is not None:
            await self._store.report_scale(holder, measured, lease_ms=lease_ms)
        return figures_of(state, run_times)

    async def led_by_another(self, holder: str) -> HeldLease | None:
        """Return who has the lease, unless this autoscaler has it or nobody."""
        state = await self._store.scale({})
        report = state.report
        if report.until_ms <= state.now_ms or report.holder in {None, holder}:
            return None
        return HeldLease(str(report.holder), report.until_ms - state.now_ms)

    async def give_back(self, holder: str) -> HeldLease | None:
        """End the lease of this autoscaler; None, or who else has it."""
        return await self._store.give_back(holder)


def figures_of(state: ScaleState, run_times: RunTimes) -> ScaleFigures:
    """Derive the figures from what is stored."""
    report, workers = state.report, state.workers
    is_led = report.until_ms > state.now_ms
    counts = _count(workers, report.existing or 0 if is_led else 0)
    ready = [worker for worker in workers if state_of(worker) is WorkerState.READY]
    place = estimate(run_times, ahead=state.waiting, busy=state.held, free=state.roomy)
    run_s = run_times.mean_s or None
    return ScaleFigures(
        waiting=state.waiting,
        running=state.held,
        workers=counts,
        window=sum(map(_capacity, ready)),
        window_per_worker=_window_of(workers) or report.window,
        oldest_s=_seconds_since(state.oldest_at_ms, state.now_ms),
        wait_s=None if place is None or state.paused else place.start_p50_s,
        run_s=run_s,
        load_s=_load_s_of(workers) or report.load_s,
        cpu=_cpu_of(ready),
        put_total=state.put_total,
        due=_due(state.deadlines, run_s or 0.0),
        decision=_decision(report, state.now_ms) if is_led else Decision(),
        paused=state.paused,
        deliverable=state.deliverable,
        history=report.history,
        sink_full=state.sink_full,
    )


def state_of(worker: ConnectedWorker) -> WorkerState:
    """Return what a worker does; UNKNOWN for one whose connection is lost."""
    said = _load(worker).get("state", WorkerState.UNKNOWN)
    if not worker.connected:
        return WorkerState.UNKNOWN
    if worker.leaving or said == WorkerState.DRAINING:
        return WorkerState.DRAINING
    if worker.window or said == WorkerState.READY:
        # A worker that runs one job alone has a window of 0 for as long.
        return WorkerState.READY
    # One that does not report its state closes its window to leave.
    return WorkerState.RESTING if said else WorkerState.DRAINING


def _count(workers: Iterable[ConnectedWorker], existing: int) -> WorkerCounts:
    states = [state_of(worker) for worker in workers]
    ready, resting = states.count(WorkerState.READY), states.count(WorkerState.RESTING)
    draining = states.count(WorkerState.DRAINING)
    starting = max(0, existing - ready - resting - draining)
    return WorkerCounts(starting, ready, resting, draining)


def _load(worker: ConnectedWorker) -> Mapping[str, Any]:
    load = worker.about.get("load")
    return load if isinstance(load, Mapping) else {}


def _capacity(worker: ConnectedWorker) -> int:
    """Return how many jobs it can run at once, also while it runs one alone."""
    return max(worker.window, int(_load(worker).get("limit") or 0))


def _window_of(workers: Iterable[ConnectedWorker]) -> int | None:
    """Return the jobs that one worker runs at a time: half of them run at least as many."""
    windows = [window for worker in workers if (window := _capacity(worker))]
    return median_high(windows) if windows else None


def _load_s_of(workers: Iterable[ConnectedWorker]) -> float | None:
    times_s = [float(took_s) for worker in workers if (took_s := _load(worker).get("load_s"))]
    return median_high(times_s) if times_s else None


def _cpu_of(workers: Iterable[ConnectedWorker]) -> float | None:
    used = [
        float(percent)
        for worker in workers
        if (percent := _load(worker).get("cpu_percent")) is not None
    ]
    return fmean(used) if used else None


def _new_measurements(state: ScaleState) -> NewReport | None:
    """Return what the workers report, if it differs from what is stored."""
    load_s, window = _load_s_of(state.workers), _window_of(state.workers)
    known = state.report
    if load_s in (None, known.load_s) and window in (None, known.window):
        return None
    return NewReport(load_s=load_s, window=window)


def _due(deadlines: Iterable[Deadlines], run_s: float) -> tuple[DueEntries, ...]:
    """Return by when jobs must start: those that must finish need the time of a run before."""
    due = [
        DueEntries(one.count, max(0.0, one.within_ms / 1000 - (run_s if one.to_finish else 0.0)))
        for one in deadlines
    ]
    return tuple(sorted(due, key=lambda one: one.within_s))


def _decision(report: Report, now_ms: int) -> Decision:
    if report.wanted is None:
        return Decision(existing=report.existing, reason="the autoscaler has not decided yet")
    return Decision(
        report.wanted,
        report.existing,
        report.reason or "",
        report.driver_error,
        _seconds_since(report.decided_at_ms, now_ms),
    )


def _seconds_since(at_ms: int | None, now_ms: int) -> float | None:
    return None if at_ms is None else max(0, now_ms - at_ms) / 1000
