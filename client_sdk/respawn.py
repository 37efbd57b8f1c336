"""When a process that has ended is started again.  Pure: plain values in, plain values out.

The loops that keep processes alive (local mode's children, a worker's engine, a worker's server)
count the ends in a row and ask here what that count means.
"""

from dataclasses import dataclass

#: The exponent stops growing here: after a weekend of failures `2.0 ** failures` is no float.
_MOST_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class Respawn:
    """Pauses that double with each end in a row, and start over after a good life.

    first_s: the pause after the first end.  longest_s: the longest pause.
    good_life_s: a process that lived longer than this did well: its end is the first in a row.
    """

    first_s: float
    longest_s: float
    good_life_s: float = 30.0

    def did_well(self, lived_s: float) -> bool:
        """Say whether a life of this length was a good one."""
        return lived_s > self.good_life_s

    def ends_in_row(self, before: int, *, lived_s: float) -> int:
        """Return how many ends in a row there are now, from 1, with `before` of them until now."""
        return 1 if self.did_well(lived_s) else before + 1

    def pause_s(self, ends_in_row: int) -> float:
        """Return the seconds to wait before the next start, after this many ends in a row."""
        doublings = min(max(0, ends_in_row - 1), _MOST_DOUBLINGS)
        return min(self.longest_s, self.first_s * 2.0**doublings)
