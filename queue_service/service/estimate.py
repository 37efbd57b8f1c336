"""Estimates when a request starts and finishes, from recent run times.  Pure arithmetic.

With W busy places, a place becomes free every mean / W seconds.  The first becomes free sooner,
because its run started some time ago: the remaining time of a run observed at a random moment is
mean * (1 + v) / 2, where v is the squared coefficient of variation (the inspection paradox of
renewal theory).  The spread of a sum of many runs follows from the same v.
"""

import bisect
import math
import operator
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

#: How many standard deviations above the mean nine of ten lie.
P90 = 1.2816

#: When work is done, in seconds from now, by the seconds until it begins and those that it takes.
#: With time windows it goes on only while they are open.  None is unknown.
Later = Callable[[float, float], float | None]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds from now, as the median and as what nine of ten stay below.

    The start is 0 for a request that runs.
    """

    start_p50_s: float
    start_p90_s: float
    finish_p50_s: float
    finish_p90_s: float


@dataclass(frozen=True, slots=True)
class RunTimes:
    """Recent run times in seconds, with their statistics.

    Every estimate needs the same statistics, so they are computed once per change of the history
    and not once per request.

    ordered_s: ascending.  variation: the squared coefficient of variation.
    """

    ordered_s: tuple[float, ...]
    mean_s: float
    variation: float

    @classmethod
    def of(cls, run_times_s: Iterable[float]) -> Self:
        """Summarize run times, which may be empty."""
        ordered = tuple(sorted(run_times_s))
        if not ordered:
            return cls((), 0.0, 0.0)
        mean = statistics.fmean(ordered)
        # statistics.pvariance computes with exact fractions, which costs fifty times as much.
        variance = math.fsum((run - mean) ** 2 for run in ordered) / len(ordered)
        return cls(ordered, mean, variance / mean**2)


def estimate(
    run_times: RunTimes,
    *,
    ahead: int,
    busy: int,
    free: int,
    running: bool = False,
    elapsed_s: float | None = None,
    delay_s: float = 0.0,
    later: Later = operator.add,
) -> Estimate | None:
    """Estimate from recent run times; None without any, or without workers.

    ahead: requests that start before this one.  busy: deliveries that workers hold; free:
    subscribers with free slots.  running, elapsed_s: it runs already, and for how long if that is
    known.  delay_s: it does not start to wait for a worker before this.  later: see Later.
    """
    places = busy + free
    if not run_times.ordered_s or not places:
        return None
    if running:
        finish_p50, finish_p90 = _rest_of_run(run_times.ordered_s, elapsed_s or 0.0)
        return Estimate(0.0, 0.0, finish_p50, finish_p90)

    start_p50, start_p90 = _wait(run_times, turn=ahead + 1 - free, places=places)
    # A request that begins to wait later finds that those of now have started by then.
    begin = later(delay_s, 0.0)
    starts = [later(0.0, wait_s) for wait_s in (start_p50, start_p90)]
    if begin is None or None in starts:
        return None
    start_p50, start_p90 = (max(begin, start) for start in starts if start is not None)
    run_p50, run_p90 = quantile(run_times.ordered_s, 0.5), quantile(run_times.ordered_s, 0.9)
    finish_p50 = start_p50 + run_p50
    strays = math.hypot(start_p90 - start_p50, run_p90 - run_p50)
    return Estimate(start_p50, start_p90, finish_p50, finish_p50 + strays)


def rest_of_run_s(run_times: RunTimes, elapsed_s: float | None) -> float | None:
    """Return the likely rest of a run, as the median; None without any run time.

    elapsed_s: how long it has run, None if that is not known.
    """
    if not run_times.ordered_s:
        return None
    return _rest_of_run(run_times.ordered_s, elapsed_s or 0.0)[0]


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of these ascending numbers that this share of them does not exceed."""
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def _wait(run_times: RunTimes, *, turn: int, places: int) -> tuple[float, float]:
    """The time until the turn-th place becomes free, as median and as p90."""
    if turn <= 0:
        return 0.0, 0.0
    mean, variation = run_times.mean_s, run_times.variation
    middle = (turn - 1 + (1 + variation) / 2) * mean / places
    # The first place may still be anywhere in its run, however alike all runs are.
    spread = math.sqrt((turn - 1) * variation + 1 / 12 + variation / 2) * mean / places
    return middle, middle + P90 * spread


def _rest_of_run(ordered_s: Sequence[float], elapsed_s: float) -> tuple[float, float]:
    """The remaining time of a run after elapsed_s, from the runs that took longer."""
    longer = ordered_s[bisect.bisect_right(ordered_s, elapsed_s) :]
    if not longer:
        # It takes longer than any before: as long again is as good a guess as any.
        return elapsed_s, 2 * elapsed_s
    return quantile(longer, 0.5) - elapsed_s, quantile(longer, 0.9) - elapsed_s
