"""A soak: hours of mixed load in minutes, and whether anybody's memory grows.

    python -m tests.faults.soak [--minutes 30] [--seed N]

The exit status is 1 when the memory of a process or of Redis grows, or a rule was broken.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from redis.exceptions import RedisError

from tests.faults.cells import Load, RoundPlan
from tests.faults.cluster import Cluster, Shape
from tests.faults.growth import Growth, growth
from tests.faults.history import Violation
from tests.faults.load import Keeper, Pace
from tests.faults.part import resident_kb
from tests.faults.round import finish_round
from tests.waiting import let_pass

#: Seconds between two looks at everybody's memory, and of one kind of load.
SAMPLE_S = 2.0
SPELL_S = 20.0
#: How long a put is remembered, in seconds: shorter than the part of a soak that does not count.
REPEATABLE_S = 15.0
#: A tenth of what the kill matrix puts: the journals of half an hour have to fit into memory.
PACE = Pace(rate=100.0, backlog=(200, 600))
#: So short that this pace fills it within a spell.
SINK_LENGTH = 500
LOADS = (Load.STEADY, Load.BACKLOG, Load.STEADY, Load.SINK_FULL, Load.IDLE)


class Samples:
    """The memory of every process and of Redis, over time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.by_name: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self.ended = False

    async def take_for_ever(self) -> None:
        """Take samples until `ended`."""
        while not self.ended:
            await let_pass(SAMPLE_S)
            at = time.monotonic()
            for part in self._cluster.parts:
                if part.name != "link":
                    self._note(at, part.name, resident_kb(part.pid))
                    for number, pid in enumerate(part.children()[-1:]):
                        self._note(at, f"{part.name} engine {number + 1}", resident_kb(pid))
            try:
                async with self._cluster.client() as redis:
                    # What is stored comes and goes with the load: the least of each spell counts.
                    memory = await redis.info("memory")
                self._note(at, "Redis used_memory", memory["used_memory"] / 1024)
            except (RedisError, OSError):
                continue

    def _note(self, at: float, name: str, kb: float) -> None:
        if kb:
            self.by_name[name].append((at, kb))


async def soak(
    minutes: float, folder: Path, seed: int
) -> tuple[dict[str, Growth], int, list[Violation]]:
    """Load a cluster for this time; give each memory's growth, the jobs, and rules broken."""
    shape = Shape(
        seed=seed,
        lease_s=10.0,
        repeatable_s=REPEATABLE_S,
        sink_length=SINK_LENGTH,
        teams=(),
        autoscalers=0,
    )
    cluster = Cluster(folder, shape)
    try:
        await cluster.start()
        await cluster.begin("soak")
        samples = Samples(cluster)
        sampling = asyncio.create_task(samples.take_for_ever())
        ends_at = time.monotonic() + minutes * 60
        while time.monotonic() < ends_at:
            for load in LOADS:
                async with Keeper(cluster, load, PACE).running():
                    await let_pass(max(0.0, min(SPELL_S, ends_at - time.monotonic())))
        samples.ended = True
        await sampling
        outcome = await finish_round(cluster, RoundPlan(1, Load.STEADY, (), (), seed), [])
        grown = {name: growth(points) for name, points in sorted(samples.by_name.items())}
        return grown, outcome.verdict.accepted, outcome.violations
    finally:
        await cluster.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.faults.soak", description="A soak.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="penstock-soak-"))
    try:
        grown, jobs, violations = asyncio.run(soak(given.minutes, folder, seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("| process | at first | at last | grows per hour | verdict |\n|---|---:|---:|---:|---|")
    for name, one in grown.items():
        print(f"| {name} | {one.row()} |")
    for violation in violations[:20]:
        print(violation)
    growing = [name for name, one in grown.items() if one.is_growing]
    print(f"\n{jobs:,} jobs; growing: {', '.join(growing) or 'nothing'}", flush=True)
    return 1 if growing or violations else 0


if __name__ == "__main__":
    sys.exit(main())
