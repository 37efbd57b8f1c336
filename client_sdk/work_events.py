"""What a work connection reports besides deliveries: lost deliveries, stops, and statistics."""

from dataclasses import dataclass

from client_sdk.wire.worker import Held


@dataclass(frozen=True, slots=True)
class Lost:
    """Deliveries that no longer belong to this worker: stop working on them."""

    deliveries: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Deliveries whose jobs were canceled: stop them, then reject them with `Canceled`."""

    deliveries: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class WorkStatistics:
    """A snapshot of a work connection, for operators and tests.

    connections: the number of Welcome messages so far.  working: deliveries without an answer.
    unconfirmed: answers without an outcome.
    """

    connected: bool
    connections: int
    window: int
    working: int
    unconfirmed: int
