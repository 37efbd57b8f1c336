"""When to restart a process that has ended.  Pure.

The loops that keep processes running (local mode's children, a worker's engine, a worker's server)
count consecutive exits and get the length of the pause from here.
"""

from dataclasses import dataclass

#: Caps the exponent: after a weekend of failures `2.0 ** failures` would overflow a float.
_MOST_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class Respawn:
    """Pauses that double with each consecutive exit, and start over after a long run.

    first_s: the pause after the first exit.  longest_s: the longest pause.
    good_life_s: the exit of a process that ran longer than this counts as the first.
    """

    first_s: float
    longest_s: float
    good_life_s: float = 30.0

    def did_well(self, lived_s: float) -> bool:
        """Return whether a process that ran this long counts as healthy."""
        return lived_s > self.good_life_s

    def ends_in_row(self, before: int, *, lived_s: float) -> int:
        """Return the number of consecutive exits including this one; `before` is without it."""
        return 1 if self.did_well(lived_s) else before + 1

    def pause_s(self, ends_in_row: int) -> float:
        """Return the seconds to wait before the next start, after this many consecutive exits."""
        doublings = min(max(0, ends_in_row - 1), _MOST_DOUBLINGS)
        return min(self.longest_s, self.first_s * 2.0**doublings)
