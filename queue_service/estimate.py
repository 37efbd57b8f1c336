"""When a request may start and finish: pure arithmetic over what runs took lately.

With W places that are all taken, one place comes free every mean / W seconds.  The first comes
sooner, as what runs now has run for a while already: after what is left of a run that somebody
meets at a random moment, mean * (1 + v) / 2 on one place, where v is the squared coefficient of
variation.  How far a sum of many runs strays from its mean follows from the same v.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: How many standard deviations above the mean nine of ten lie.
P90 = 1.2816


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds from now, as the median and as what nine of ten stay below.

    The start is 0 for a request that runs.
    """

    start_p50_s: float
    start_p90_s: float
    finish_p50_s: float
    finish_p90_s: float


def estimate(
    run_times_s: Sequence[float],
    *,
    ahead: int,
    busy: int,
    free: int,
    running: bool = False,
    elapsed_s: float | None = None,
    delay_s: float = 0.0,
) -> Estimate | None:
    """Estimate from the latest run times; None when there are none, or nobody works.

    ahead: requests that start before this one.  busy: places that are taken; free: subscribers
    that have room.  running, elapsed_s: it runs already, and for how long if that is known.
    delay_s: it is not in line before this.
    """
    places = busy + free
    if not run_times_s or not places:
        return None
    if running:
        finish_p50, finish_p90 = _rest_of_run(run_times_s, elapsed_s or 0.0)
        return Estimate(0.0, 0.0, finish_p50, finish_p90)

    start_p50, start_p90 = _wait(run_times_s, turn=ahead + 1 - free, places=places)
    # Whoever comes later finds those that are in line now gone by then.
    start_p50, start_p90 = max(start_p50, delay_s), max(start_p90, delay_s)
    run_p50, run_p90 = quantile(run_times_s, 0.5), quantile(run_times_s, 0.9)
    finish_p50 = start_p50 + run_p50
    strays = math.hypot(start_p90 - start_p50, run_p90 - run_p50)
    return Estimate(start_p50, start_p90, finish_p50, finish_p50 + strays)


def quantile(numbers: Sequence[float], share: float) -> float:
    """The number that this share of all stays at or below."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def _wait(run_times_s: Sequence[float], *, turn: int, places: int) -> tuple[float, float]:
    """How long until the turn-th place comes free, as median and as p90."""
    if turn <= 0:
        return 0.0, 0.0
    mean = statistics.fmean(run_times_s)
    variation = statistics.pvariance(run_times_s, mean) / mean**2
    middle = (turn - 1 + (1 + variation) / 2) * mean / places
    # The first place may still be anywhere in its run, however alike all runs are.
    spread = math.sqrt((turn - 1) * variation + 1 / 12 + variation / 2) * mean / places
    return middle, middle + P90 * spread


def _rest_of_run(run_times_s: Sequence[float], elapsed_s: float) -> tuple[float, float]:
    """What is left of a run that has gone on for so long, from those that took longer."""
    longer = [run for run in run_times_s if run > elapsed_s]
    if not longer:
        # It takes longer than any before: as long again is as good a guess as any.
        return elapsed_s, 2 * elapsed_s
    return quantile(longer, 0.5) - elapsed_s, quantile(longer, 0.9) - elapsed_s
