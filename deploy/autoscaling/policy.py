"""Decides how many workers a service gets: a pure function of figures, settings, history and time.

A number of workers only counts once it was needed for a whole window: the service grows to the
smallest number of the scale-up window, and shrinks to the largest number of the scale-down window.
These are the windows of PAI EAS and of Kubernetes.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from deploy.autoscaling.demand import Demand, demand
from deploy.autoscaling.figures import Figures
from queue_service.settings.autoscaler import Autoscaler

#: The rate of puts is taken over the scale-down window, 300 s by default.  In seconds, over this
#: at least, and over a day at most.
SHORTEST_RATE_S = 10.0
LONGEST_RATE_S = 86_400.0
#: The rate is also taken over this many times the load time of a model.
RATE_LOADS = 6
#: Counts of puts that are kept: more would cost time and make no rate better.
MOST_COUNTS = 60
#: A model stays loaded if a job is this likely to come within the time that loading takes.
LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class Needed:
    """The same number of workers was needed from one moment to another, in seconds."""

    workers: int
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class PutCount:
    """How many jobs had been put at a moment."""

    at_s: float
    total: int


@dataclass(frozen=True, slots=True)
class History:
    """What earlier decisions leave for later ones; oldest first."""

    needed: tuple[Needed, ...] = ()
    puts: tuple[PutCount, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers the service should have, and the reason in one sentence."""

    wanted: int
    reason: str


def decide(
    figures: Figures, settings: Autoscaler, history: History, *, now_s: float
) -> tuple[Decision, History]:
    """Decide, and return the history for the next decision.

    now_s must not go back between decisions; any clock that never does will do.
    """
    history = replace(history, puts=_counted(history.puts, figures, settings, now_s))
    rate = puts_per_s(history)
    needed = demand(figures, settings, puts_per_s=rate)
    keep = _kept_for_arrivals(figures, rate)
    if keep.workers > needed.workers:
        needed = keep
    history = replace(history, needed=_remembered(history.needed, needed, settings, now_s))
    return _within_windows(needed, figures, settings, history, now_s), history


def puts_per_s(history: History) -> float:
    """Return the rate of puts over the time that the history has counts of."""
    counts = history.puts
    if not counts or counts[-1].at_s <= counts[0].at_s:
        return 0.0
    return max(0, counts[-1].total - counts[0].total) / (counts[-1].at_s - counts[0].at_s)


def _kept_for_arrivals(figures: Figures, rate: float) -> Demand:
    """Return the workers that stay although nothing needs them now: they would be missed soon."""
    load_s = figures.load_s or 0.0
    if figures.paused or 1 - math.exp(-rate * load_s) < LIKELY:
        return Demand(0, "")
    # Little's law: what runs on average is the rate times the time of a run.
    busy = math.ceil(rate * (figures.run_s or 0.0) / figures.window - 1e-9)
    clause = f"a job comes every {1 / rate:.3g} s, and a worker needs {load_s:.3g} s to load"
    return Demand(min(max(1, busy), figures.workers), clause)


def _within_windows(
    needed: Demand, figures: Figures, settings: Autoscaler, history: History, now_s: float
) -> Decision:
    behavior, current = settings.behavior, figures.workers
    grown = _extreme(history, now_s, behavior.scale_up.stabilization_window_seconds, min)
    shrunk = _extreme(history, now_s, behavior.scale_down.stabilization_window_seconds, max)
    if grown is not None and grown > current:
        wanted, reason = grown, needed.reason
    elif shrunk is not None and shrunk < current:
        wanted, reason = shrunk, needed.reason
        grace_s = behavior.on_zero.scale_down_grace_period_seconds
        if wanted == 0 and _extreme(history, now_s, grace_s, max) != 0:
            wanted, reason = 1, f"nothing waits or runs; goes to 0 once this has lasted {grace_s} s"
    else:
        wanted, reason = current, _why_unchanged(needed, current, settings)
    limited = min(max(wanted, settings.min), settings.max)
    if limited != wanted:
        limit = "raised to the minimum" if limited > wanted else "limited to the maximum"
        reason = f"{reason}; {limit} of {limited}"
    return Decision(limited, reason)


def _why_unchanged(needed: Demand, current: int, settings: Autoscaler) -> str:
    if needed.workers == current:
        return needed.reason
    behavior = settings.behavior
    window = behavior.scale_up if needed.workers > current else behavior.scale_down
    return (
        f"{needed.reason}; goes to {needed.workers} once this has lasted "
        f"{window.stabilization_window_seconds} s"
    )


def _extreme(
    history: History, now_s: float, window_s: float, choose: Callable[[Iterable[int]], int]
) -> int | None:
    """Return the least or most that was needed in a window; None if the history is shorter."""
    begin_s = now_s - window_s
    if not history.needed or history.needed[0].from_s > begin_s:
        return None
    within = [part.workers for part in history.needed[:-1] if part.to_s > begin_s]
    return choose([*within, history.needed[-1].workers])


def _remembered(
    parts: tuple[Needed, ...], needed: Demand, settings: Autoscaler, now_s: float
) -> tuple[Needed, ...]:
    """Add what is needed now; drop what no window reaches back to."""
    behavior = settings.behavior
    longest_s = max(
        behavior.scale_up.stabilization_window_seconds,
        behavior.scale_down.stabilization_window_seconds,
        behavior.on_zero.scale_down_grace_period_seconds,
    )
    if parts and parts[-1].workers == needed.workers:
        parts = (*parts[:-1], replace(parts[-1], to_s=now_s))
    else:
        # What was needed last counts until now, as nothing else is known of the time between.
        before = (replace(parts[-1], to_s=now_s),) if parts else ()
        parts = (*parts[:-1], *before, Needed(needed.workers, now_s, now_s))
    return tuple(part for part in parts if part.to_s >= now_s - longest_s)


def _counted(
    counts: tuple[PutCount, ...], figures: Figures, settings: Autoscaler, now_s: float
) -> tuple[PutCount, ...]:
    """Add the count of puts; keep about MOST_COUNTS, evenly spaced, and the newest."""
    over_s = _rate_window_s(figures, settings)
    if counts and figures.put_total < counts[-1].total:
        # The service counts from the start again, as after a restart.
        counts = ()
    is_close = len(counts) > 1 and counts[-1].at_s - counts[-2].at_s < over_s / MOST_COUNTS
    kept = counts[:-1] if is_close else counts
    while kept and kept[0].at_s < now_s - over_s:
        kept = kept[1:]
    return (*kept, PutCount(now_s, figures.put_total))


def _rate_window_s(figures: Figures, settings: Autoscaler) -> float:
    window_s = settings.behavior.scale_down.stabilization_window_seconds
    return min(LONGEST_RATE_S, max(SHORTEST_RATE_S, window_s, RATE_LOADS * (figures.load_s or 0)))
