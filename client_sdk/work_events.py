"""What the owner of a work connection is told beside its deliveries."""

from dataclasses import dataclass

from client_sdk.wire.worker import Held


@dataclass(frozen=True, slots=True)
class Lost:
    """Deliveries that are no longer this worker's: it should stop working on them."""

    deliveries: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Deliveries that nobody wants any more: stop them, then reject them with `Canceled`."""

    deliveries: tuple[Held, ...]
