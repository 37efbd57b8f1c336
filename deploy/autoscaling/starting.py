"""How many workers were started and have not connected yet.  Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from deploy.autoscaling.driver import Started

#: A worker that has not connected after this time is not waited for any longer, in seconds; where
#: the load time is known, after LOADS of them and a little more.
LONGEST_START_S = 600.0
LOADS = 3
BEYOND_LOADS_S = 30.0
#: The same of workers that were connected: the queue service may be restarting.
LONGEST_AWAY_S = 30.0


def starting_of(started: Iterable[Started], connected: Iterable[Started]) -> int:
    """Return how many of the workers that a driver runs are not connected.

    A machine with one worker only, such as a container, has no process id at the driver.
    """
    here = list(connected)
    pids = set(here)
    hosts = Counter(one.host for one in here)
    return sum(one not in pids if one.pid else not hosts[one.host] for one in started)


def surplus(current: int, wanted: int, *, loading: int) -> int:
    """Return how many workers are to be asked to leave now.

    Only connected ones can be asked, and only those beyond the wanted number: a worker that seems
    to load may never connect, for example because an autoscaler that was killed had asked it to
    leave.  One that loads and is too many leaves when it has connected.
    """
    return max(0, current - loading - wanted)


@dataclass(frozen=True, slots=True)
class Expected:
    """How many workers there should be, for a driver that cannot tell what runs.

    until_s: when those that are not there are not waited for any longer.
    """

    workers: int = 0
    until_s: float = 0.0

    @classmethod
    def started(cls, workers: int, *, now_s: float, load_s: float | None) -> "Expected":
        """Return what to expect after a start."""
        longest_s = min(LONGEST_START_S, LOADS * load_s + BEYOND_LOADS_S) if load_s else None
        return cls(workers, now_s + (longest_s or LONGEST_START_S))

    def seen(self, there: int, *, now_s: float) -> "Expected":
        """Return what to expect while `there` are connected."""
        if there < self.workers and now_s < self.until_s:
            return self
        return Expected(there, now_s + LONGEST_AWAY_S)

    def to_json(self) -> list[float]:
        """Return it as JSON, for the next autoscaler."""
        return [self.workers, round(self.until_s, 3)]

    @classmethod
    def from_json(cls, kept: object, *, now_s: float) -> "Expected":
        """Read what another autoscaler has left; anything unreadable counts as nothing.

        Its clock may be ahead of ours: nothing is waited for longer than after a start.
        """
        match kept:
            case [int(workers), float(until_s) | int(until_s)]:
                return cls(workers, min(until_s, now_s + LONGEST_START_S))
            case _:
                return cls()

    def missing(self, there: int) -> int:
        """Return how many are not connected, and are waited for."""
        return max(0, self.workers - there)
