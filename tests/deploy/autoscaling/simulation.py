"""Simulates a service under the autoscaler, step by step, without a clock.

Workers load for `load_s`, then run `window` jobs at a time.  A worker that has to leave takes no
more jobs and goes when its last one has ended, as the queue service has it: idle ones first.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from deploy.autoscaling.figures import Figures
from deploy.autoscaling.policy import History, decide
from queue_service.settings.autoscaler import Autoscaler

DAY_S = 86_400
#: Seconds between two decisions.
STEP_S = 30


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job is put at a moment and runs for some time, in seconds."""

    at_s: float
    run_s: float


@dataclass
class Simulated:
    """What a simulation measured.  worker_s: time that workers existed; busy_s: that jobs ran."""

    waits_s: list[float] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    worker_s: float = 0.0
    busy_s: float = 0.0
    left_waiting: int = 0

    @property
    def turns(self) -> int:
        """How often the number of workers changed its direction."""
        steps = [after - before for before, after in pairwise(self.wanted) if after != before]
        return sum(1 for before, after in pairwise(steps) if (before > 0) != (after > 0))

    def wait_s(self, share: float) -> float:
        """Return the wait that this share of the jobs did not exceed."""
        ordered = sorted(self.waits_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class _Worker:
    ready_s: float
    ends_s: list[float] = field(default_factory=list)
    stuck: bool = False


def arrivals(
    rate: Callable[[float], float], run_s: float, *, days: float, most_per_s: float, seed: int
) -> list[Arrival]:
    """Return a Poisson process whose rate changes, by thinning (Lewis and Shedler, 1979)."""
    draw = random.Random(seed)
    found: list[Arrival] = []
    at_s = 0.0
    while (at_s := at_s + draw.expovariate(most_per_s)) < days * DAY_S:
        if draw.random() < rate(at_s) / most_per_s:
            found.append(Arrival(at_s, draw.expovariate(1 / run_s)))
    return found


def simulate(
    jobs: Iterable[Arrival],
    settings: Autoscaler,
    *,
    days: float,
    load_s: float,
    window: int = 1,
    is_stuck: Callable[[int], bool] = lambda number: False,
) -> Simulated:
    """Run the autoscaler over all arrivals; the first workers are the least that may be."""
    coming, line = deque(jobs), deque[Arrival]()
    workers = [_Worker(0.0) for _ in range(settings.min)]
    made, put_total, run_sum, run_count = len(workers), 0, 0.0, 0
    result, history = Simulated(), History()
    for step in range(int(days * DAY_S / STEP_S)):
        now_s = float(step * STEP_S)
        while coming and coming[0].at_s <= now_s:
            line.append(coming.popleft())
            put_total += 1
        for worker in workers:
            while worker.ends_s and worker.ends_s[0] <= now_s:
                heapq.heappop(worker.ends_s)
            while (
                line
                and not worker.stuck
                and worker.ready_s <= now_s
                and len(worker.ends_s) < window
            ):
                job = line.popleft()
                heapq.heappush(worker.ends_s, now_s + job.run_s)
                result.waits_s.append(now_s - job.at_s)
                result.busy_s += job.run_s
                run_sum, run_count = run_sum + job.run_s, run_count + 1
        run_s = run_sum / run_count if run_count else None
        figures = Figures(
            waiting=len(line),
            running=sum(len(worker.ends_s) for worker in workers),
            workers=len(workers),
            loading=sum(worker.ready_s > now_s for worker in workers),
            window=window,
            put_total=put_total,
            run_s=run_s,
            wait_s=len(line) * run_s / (window * len(workers)) if run_s and workers else None,
            load_s=load_s,
        )
        decision, history = decide(figures, settings, history, now_s=now_s)
        result.wanted.append(decision.wanted)
        while len(workers) < decision.wanted:
            workers.append(_Worker(now_s + load_s, stuck=is_stuck(made)))
            made += 1
        for _ in range(len(workers) - decision.wanted):
            # Idle first, then the one whose last job ends soonest; it is paid for until then.
            gone = min(workers, key=lambda worker: max(worker.ends_s, default=0.0))
            result.worker_s += max(0.0, max(gone.ends_s, default=now_s) - now_s)
            workers.remove(gone)
        result.worker_s += len(workers) * STEP_S
    result.left_waiting = len(line)
    return result
