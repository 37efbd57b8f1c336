"""The numbers of tokens that a server reports.  Pure."""

from typing import Any

#: The most tokens of one job: no server has counted more, and counters have 64 bits.
MOST_TOKENS = 2**53


def counted(reported: Any) -> int:
    """Return what can be added to a counter; raises ValueError, TypeError or OverflowError."""
    return min(max(0, int(reported)), MOST_TOKENS)
