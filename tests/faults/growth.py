"""Whether a memory grows: a rule over samples, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

#: The first share of the samples is left out: caches fill, pools reach their size.
WARM_UP = 0.2
#: The rest is cut into this number of pieces; what counts of each is its least sample, because load
#: comes and goes, and a leak is what stays when it has gone.
PIECES = 8
#: Growth below this share of the memory, from the first piece to the last, is none...
LEAST_SHARE = 0.10
#: ... and below this many KiB either.
LEAST_KB = 4096.0


@dataclass(frozen=True, slots=True)
class Growth:
    """How a memory went.

    first_kb, last_kb: on the line through the samples.  per_hour_kb: its slope.
    """

    first_kb: float
    last_kb: float
    per_hour_kb: float
    is_growing: bool

    def row(self) -> str:
        """Render it as the columns of a table."""
        verdict = "growing" if self.is_growing else "flat"
        columns = (f"{kb / 1024:.1f} MB" for kb in (self.first_kb, self.last_kb, self.per_hour_kb))
        return f"{' | '.join(columns)} | {verdict}"


def growth(points: Sequence[tuple[float, float]]) -> Growth:
    """Judge samples of (seconds, KiB) in the order of time.

    Growing is what the line through the least of each piece gains more than a little, when the
    later half is also above the earlier one everywhere: one step is no leak.
    """
    settled = points[int(len(points) * WARM_UP) :]
    if len(settled) < PIECES:
        only = settled[-1][1] if settled else 0.0
        return Growth(only, only, 0.0, False)
    size = len(settled) // PIECES
    least = [
        min(settled[number * size : (number + 1) * size], key=lambda point: point[1])
        for number in range(PIECES)
    ]
    slope, first, last = _line(least)
    gained = last - first
    half = PIECES // 2
    rises = max(kb for _, kb in least[:half]) < min(kb for _, kb in least[half:])
    is_growing = rises and gained > max(LEAST_KB, LEAST_SHARE * first)
    return Growth(first, last, slope * 3600, is_growing)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return the slope of the line of least squares, and its values at the first and last point."""
    count = len(points)
    mean_at = sum(at for at, _ in points) / count
    mean_kb = sum(kb for _, kb in points) / count
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    slope = sum((at - mean_at) * (kb - mean_kb) for at, kb in points) / spread if spread else 0.0
    return (
        slope,
        mean_kb + slope * (points[0][0] - mean_at),
        mean_kb + slope * (points[-1][0] - mean_at),
    )
