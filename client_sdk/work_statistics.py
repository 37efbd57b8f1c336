"""A worker's connection in numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkStatistics:
    """What operators and tests read.

    working: deliveries without an answer.  unconfirmed: answers without an outcome.
    connections: how many times the service said Welcome.
    """

    connected: bool
    connections: int
    window: int
    working: int
    unconfirmed: int
