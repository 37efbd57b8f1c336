"""How long recovery takes with the lease that is the default, as figures and not as a rule."""

from dataclasses import dataclass
from pathlib import Path

from tests.faults.actions import Course
from tests.faults.cells import Cell, Fault, Load, Victim, round_of
from tests.faults.cluster import Cluster, Shape
from tests.faults.history import History, Violation
from tests.faults.load import Pace
from tests.faults.recovery import Timeline, percentile
from tests.faults.round import Outcome, run_round

#: The default of the queue service.
LEASE_S = 10.0
#: What is measured is how long Penstock waits, not how long entries wait because the workers that
#: are left have their windows full: few jobs, which take long, and one worker less at a time.
PACE = Pace(rate=80.0, slow=((0.3, 100), (0.1, 1200)))
ONE_BY_ONE = Course(at_once=1)
#: Frozen until everybody behind it has noticed, which may take a third of the lease longer.
FROZEN = Course(past_lease_s=LEASE_S / 3 + 1.5, rest_s=2.0)
#: Away long enough that others wait longer from try to try; then there until all is as before.
RESTARTED = Course(away_s=(0.0, 8.0), rest_s=5.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of recovery: how long it may take, and how long it took, each time."""

    what: str
    limit_s: float
    took_s: tuple[float, ...]

    def row(self) -> str:
        """Render it as a row of a table."""
        if not self.took_s:
            return f"| {self.what} | {self.limit_s:g} s | nothing was held | - | - | - |"
        median, most = percentile(self.took_s, 0.5), percentile(self.took_s, 0.99)
        met = "yes" if most <= self.limit_s else "no"
        return (
            f"| {self.what} | {self.limit_s:g} s | {len(self.took_s)} | {median:.2f} s | "
            f"{most:.2f} s | {met} |"
        )


HEADER = (
    "| from ... to ... | promised | times | median | p99 | kept |",
    "|---|---:|---:|---:|---:|---|",
)


async def measure(folder: Path, *, seed: int) -> tuple[list[Measured], list[Violation]]:
    """Hurt a cluster with the default lease, and give how long it took, and rules broken.

    folder: an empty one, for its files.
    """
    cluster = Cluster(folder, Shape(lease_s=LEASE_S, seed=seed, teams=(), autoscalers=0))
    killed = Cell(Victim.WORKER, Fault.KILL)
    gone = Cell(Victim.WORKER, Fault.VANISH)
    frozen = Cell(Victim.SERVICE, Fault.STOP)
    redis = Cell(Victim.REDIS, Fault.KILL)
    plans = [
        (round_of(Load.STEADY, (killed,) * 24, number=1, gap_s=1.8, seed=seed), ONE_BY_ONE),
        (round_of(Load.STEADY, (gone,) * 8, number=2, gap_s=2.5, seed=seed), None),
        (round_of(Load.STEADY, (frozen,) * 3, number=3, gap_s=1.0, seed=seed), FROZEN),
        (round_of(Load.STEADY, (redis,) * 6, number=4, gap_s=1.0, seed=seed), RESTARTED),
    ]
    try:
        await cluster.start()
        outcomes = [
            await run_round(cluster, planned, course=course, pace=PACE) for planned, course in plans
        ]
    finally:
        await cluster.stop()
    violations = [violation for outcome in outcomes for violation in outcome.violations]
    return [
        Measured("SIGKILL of a worker to redelivery", 1.0, _of_victims(outcomes[0])),
        Measured("a worker's machine gone to redelivery", LEASE_S + 1, _of_victims(outcomes[1])),
        Measured(
            "a queue process frozen, until its deliveries continue",
            LEASE_S + 1,
            _behind(outcomes[2]),
        ),
        Measured("Redis answers again to the first delivery", 3.0, _after_healing(outcomes[3])),
    ], violations


def _of_victims(outcome: Outcome) -> tuple[float, ...]:
    timeline = Timeline(History(outcome.events))
    return tuple(
        one.after_s
        for injury in outcome.injuries
        for who in injury.victims
        for one in timeline.redelivered(who, injury.hurt_at)
    )


def _behind(outcome: Outcome) -> tuple[float, ...]:
    timeline = Timeline(History(outcome.events))
    return tuple(
        one.after_s
        for injury in outcome.injuries
        for one in timeline.resumed(
            injury.hurt_at, within_s=injury.healed_at + 1.0 - injury.hurt_at
        )
    )


def _after_healing(outcome: Outcome) -> tuple[float, ...]:
    timeline = Timeline(History(outcome.events))
    found = (timeline.first_delivery_after(injury.healed_at) for injury in outcome.injuries)
    return tuple(after_s for after_s in found if after_s is not None)
