"""What the control loop needs of a driver: the program, engine or process that starts workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deploy.errors import DeployError


class DriverFailed(DeployError):
    """A driver could not start workers; the loop tries again later, and jobs wait until then."""

    code = "DRIVER_FAILED"


@dataclass(frozen=True, slots=True)
class Started:
    """A worker that the driver has started and that runs: its machine, and its process id there.

    pid: 0 where the machine, such as a container, runs one worker only.
    """

    host: str
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers of one service that a driver runs.

    started: those that run, also while they load; None if the driver cannot tell.
    failed: why others have ended, in a sentence; "" if none has.
    """

    started: tuple[Started, ...] | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Leaver:
    """A worker that the queue service has asked to leave."""

    uid: str
    host: str
    pid: int


class Driver(Protocol):
    """Starts workers.  It never stops one: the queue service asks workers to leave.

    Every method may raise DriverFailed.
    """

    async def look(self, service: str) -> Fleet:
        """Return the workers of a service."""

    async def start(self, service: str, *, current: int, wanted: int) -> None:
        """Start workers, so that there are `wanted` in place of `current`."""

    async def note_leaving(
        self, service: str, leaving: Sequence[Leaver], *, current: int, wanted: int
    ) -> None:
        """Note which workers leave: they exit with 0 when they have finished."""

    async def close(self) -> None:
        """Close its connections."""
