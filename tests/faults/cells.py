"""The cells of the matrix: who is hurt, and how; and the order in which a run goes through them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Victim(StrEnum):
    CLIENT = "client"
    READER = "client that reads"
    SERVICE = "queue service, 1 of 2"
    SERVICES = "queue service, all"
    WORKER = "worker"
    ENGINE = "engine"
    REDIS = "Redis"
    FLEET = "all workers"
    AUTOSCALER = "autoscaler"
    FILES = "disk of the files"


class Fault(StrEnum):
    KILL = "SIGKILL"
    TERM = "SIGTERM"
    STOP = "SIGSTOP past the lease, SIGCONT"
    CUT = "connections cut"
    HALF_OPEN = "half-open past the lease"
    SLOW = "slow network"
    VANISH = "machine gone, no connection closed"
    DISK_FULL = "disk full, everysec"
    DISK_FULL_ALWAYS = "disk full, always"
    MEMORY_FULL = "memory full"
    CLOCK = "clock forward and back"
    OUT = "scale-out"
    IN = "scale-in"
    KILL_IN_OUT = "SIGKILL in a scale-out"
    KILL_IN_IN = "SIGKILL in a scale-in"
    FREEZE_IN_OUT = "SIGSTOP in a scale-out, SIGCONT"
    FREEZE_IN_IN = "SIGSTOP in a scale-in, SIGCONT"
    KILL_IN_UPLOAD = "SIGKILL while a file is uploaded"
    KILL_IN_FETCH = "SIGKILL while a file is fetched"
    KILL_IN_RESULT = "SIGKILL while a result's file is stored"
    FULL_IN_UPLOAD = "full while a file is uploaded"
    FULL_IN_RESULT = "full while a result's file is stored"
    FULL_IN_FETCH = "disk full while a file is fetched"


class Load(StrEnum):
    IDLE = "idle"
    STEADY = "steady"
    BACKLOG = "backlog"
    SINK_FULL = "sink full"


ON_PROCESSES = (Fault.KILL, Fault.TERM, Fault.STOP)
ON_WIRES = (Fault.CUT, Fault.HALF_OPEN, Fault.SLOW)
ON_REDIS = (Fault.DISK_FULL, Fault.DISK_FULL_ALWAYS, Fault.MEMORY_FULL, Fault.CLOCK)
ON_FLEET = (Fault.OUT, Fault.IN)
ON_AUTOSCALER = (
    Fault.KILL_IN_OUT,
    Fault.KILL_IN_IN,
    Fault.FREEZE_IN_OUT,
    Fault.FREEZE_IN_IN,
)
#: What happens while files of jobs are on their way.
ON_FILES = {
    Victim.CLIENT: (Fault.KILL_IN_UPLOAD,),
    Victim.SERVICE: (Fault.KILL_IN_UPLOAD, Fault.KILL_IN_FETCH, Fault.KILL_IN_RESULT),
    Victim.WORKER: (Fault.KILL_IN_FETCH, Fault.KILL_IN_RESULT, Fault.FULL_IN_FETCH),
    Victim.ENGINE: (Fault.KILL_IN_FETCH, Fault.KILL_IN_RESULT),
    Victim.FILES: (Fault.FULL_IN_UPLOAD, Fault.FULL_IN_RESULT),
}
#: What happens to no process in particular, but to how many there are.
SCALED = (Victim.FLEET, Victim.AUTOSCALER)

#: Why the other cells are empty.
EMPTY = {
    "memory, clock of others than Redis": "a process that has no memory left is killed, which is "
    "the cell SIGKILL; leases are counted by Redis's clock, and by monotonic clocks everywhere "
    "else",
    "wires of the engine": "a pipe connects it to its worker and closes when either ends",
    "other faults of the autoscaler": "it touches no job; while it does nothing, for whatever "
    "reason, the number of workers stays",
}


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One kind of victim and one kind of fault."""

    victim: Victim
    fault: Fault

    def __str__(self) -> str:
        return f"{self.victim}: {self.fault}"

    @property
    def is_of_files(self) -> bool:
        """Whether it happens while files are on their way."""
        return self.fault in ON_FILES.get(self.victim, ())

    @property
    def touches(self) -> frozenset[str]:
        """What else may not be hurt at the same time, lest a fault is hidden by another."""
        if self.is_of_files:
            # One at a time: each has all files in transfer for itself.
            of_service = self.victim in {Victim.SERVICE, Victim.FILES}
            return frozenset({"files", "service"} if of_service else {"files"})
        if self.victim is Victim.SERVICE:
            return frozenset({"service"})
        if self.victim in {Victim.SERVICES, Victim.REDIS}:
            return frozenset({"service", "redis"})
        if self.victim in SCALED:
            return frozenset({"fleet"})
        return frozenset()


def cells() -> list[Cell]:
    """Every cell that makes sense."""
    found = [
        Cell(victim, fault)
        for victim in Victim
        if victim not in (Victim.ENGINE, Victim.FILES, *SCALED)
        for fault in (*ON_PROCESSES, *ON_WIRES)
    ]
    found += [Cell(victim, Fault.VANISH) for victim in (Victim.WORKER, Victim.READER)]
    found += [Cell(Victim.ENGINE, fault) for fault in ON_PROCESSES]
    found += [Cell(Victim.REDIS, fault) for fault in ON_REDIS]
    found += [Cell(Victim.FLEET, fault) for fault in ON_FLEET]
    found += [Cell(Victim.AUTOSCALER, fault) for fault in ON_AUTOSCALER]
    return found + [Cell(victim, fault) for victim, faults in ON_FILES.items() for fault in faults]


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round: a load, the faults in their order, and when each begins.

    starts_s: seconds from the beginning of the round.  seed: for what the faults draw.
    """

    number: int
    load: Load
    cells: tuple[Cell, ...]
    starts_s: tuple[float, ...]
    seed: int


#: Seconds of a round in which nothing is hurt: it begins, drains and is looked at.
QUIET_S = 25.0
#: Seconds between the beginnings of two faults: fewer, and most would hide behind others.
LEAST_GAP_S = 1.2


def plan(
    seed: int, *, minutes: float, with_clock: bool = True, only: str = ""
) -> Iterator[RoundPlan]:
    """Deal the cells to rounds: each load goes through a shuffled deck of all cells, again and
    again.  The same seed and minutes give the same plan.

    only: take the cells whose name contains this text.
    """
    rng = random.Random(seed)
    rounds = max(4, 4 * round(minutes / 7.5))
    every = [
        cell
        for cell in cells()
        if only in str(cell) and (with_clock or cell.fault is not Fault.CLOCK)
    ]
    decks: dict[Load, list[Cell]] = {load: [] for load in Load}
    loads = list(Load)
    # A round of nothing but faults needs no time for jobs; the others share what it leaves.
    idle_s = min(minutes * 60 / rounds, QUIET_S + len(every) * LEAST_GAP_S)
    busy_s = (minutes * 60 - idle_s * rounds / 4) / (rounds * 3 / 4)
    for number in range(rounds):
        load = loads[number % len(loads)]
        spent_s = max(10.0, (idle_s if load is Load.IDLE else busy_s) - QUIET_S)
        count = min(len(every), max(1, int(spent_s / LEAST_GAP_S)))
        chosen: list[Cell] = []
        while len(chosen) < count:
            if not decks[load]:
                decks[load] = rng.sample(every, len(every))
            chosen.append(decks[load].pop())
        starts = tuple(round(1.0 + position * spent_s / count, 2) for position in range(count))
        yield RoundPlan(number + 1, load, tuple(chosen), starts, rng.getrandbits(32))


def short_plan(seed: int) -> list[RoundPlan]:
    """Return a small fixed set of cells, which no seed changes, for less than a minute."""
    steady = (
        Cell(Victim.WORKER, Fault.KILL),
        Cell(Victim.SERVICE, Fault.STOP),
        Cell(Victim.REDIS, Fault.KILL),
        Cell(Victim.WORKER, Fault.VANISH),
        Cell(Victim.READER, Fault.KILL),
        Cell(Victim.ENGINE, Fault.KILL),
        Cell(Victim.SERVICE, Fault.KILL),
        Cell(Victim.WORKER, Fault.TERM),
        Cell(Victim.AUTOSCALER, Fault.KILL_IN_OUT),
        Cell(Victim.FLEET, Fault.IN),
        Cell(Victim.WORKER, Fault.KILL_IN_FETCH),
    )
    full = (
        Cell(Victim.SERVICES, Fault.KILL),
        Cell(Victim.REDIS, Fault.MEMORY_FULL),
        Cell(Victim.WORKER, Fault.STOP),
        Cell(Victim.FILES, Fault.FULL_IN_RESULT),
    )
    return [
        round_of(Load.STEADY, steady, number=1, gap_s=1.5, seed=seed),
        round_of(Load.SINK_FULL, full, number=2, gap_s=2.0, seed=seed),
    ]


def round_of(
    load: Load, chosen: tuple[Cell, ...], *, number: int, gap_s: float, seed: int
) -> RoundPlan:
    """Return a round of these cells in this order."""
    starts = tuple(1.0 + position * gap_s for position in range(len(chosen)))
    return RoundPlan(number, load, chosen, starts, seed)
