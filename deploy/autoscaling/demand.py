"""How many workers a service needs at this moment, without any memory of earlier moments.  Pure.

The rule of PAI EAS, which is that of Kubernetes' HorizontalPodAutoscaler: a strategy asks for
ceil(workers x metric / threshold), for no change within a tenth of the threshold, and the strategy
that asks for most decides.
"""

import math
from dataclasses import dataclass

from deploy.autoscaling.figures import Figures
from queue_service.settings.autoscaler import MOST_WORKERS, Autoscaler, Metric, Strategy

#: No change is made while a metric is this close to its threshold, as a share of it.
TOLERANCE = 0.1
#: Errors of floating-point arithmetic must not make 4 out of 3.9999 or 5 out of 4.0001 workers.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Demand:
    """How many workers are needed, and why in a clause."""

    workers: int
    reason: str


def demand(figures: Figures, settings: Autoscaler, *, puts_per_s: float) -> Demand:
    """Return what the figures ask for, whatever the limits and windows say.

    Never fewer workers than the running jobs occupy: a service whose workers are all busy and whose
    queue is empty has the right size.
    """
    asked = [_asked_by(strategy, figures, puts_per_s) for strategy in settings.scale_strategies]
    asked.append(_busy(figures))
    asked.append(_before_deadlines(figures))
    if not figures.workers and figures.deliverable:
        first = settings.behavior.on_zero.scale_up_activation_replicas
        return Demand(first, f"{_jobs(figures.waiting)} waiting and no worker")
    needed = max(asked, key=lambda one: one.workers)
    if figures.paused or figures.held_back:
        # Whatever asks for more than these would start workers that get no job.
        useful = _useful(figures)
        if figures.paused or needed.workers > useful.workers:
            return Demand(min(needed.workers, useful.workers), useful.reason)
    return needed


def measured(metric: Metric, figures: Figures, *, puts_per_s: float) -> float | None:
    """Return the value of a metric; None if nothing is known about it."""
    workers = max(1, figures.workers)
    match metric:
        case Metric.AVERAGE_BACKLOG:
            return figures.waiting / workers
        case Metric.BACKLOG:
            return float(figures.waiting)
        case Metric.WAIT:
            return figures.wait_s
        case Metric.QPS:
            return puts_per_s / workers
        case Metric.CPU:
            return figures.cpu


def _asked_by(strategy: Strategy, figures: Figures, puts_per_s: float) -> Demand:
    value = measured(strategy.metric, figures, puts_per_s=puts_per_s)
    if value is None:
        return Demand(figures.workers, f"{strategy.metric} is not known")
    ratio = value / strategy.threshold
    clause = f"{strategy.metric} is {value:.3g}, its threshold is {strategy.threshold:g}"
    if strategy.metric in (Metric.AVERAGE_BACKLOG, Metric.BACKLOG):
        clause = f"{_jobs(figures.waiting)} waiting ({clause})"
    if abs(ratio - 1) <= TOLERANCE + ROUNDING:
        return Demand(figures.workers, clause)
    # Not more than a service may have: a tiny threshold makes the ratio infinite.
    return Demand(math.ceil(figures.workers * min(ratio, MOST_WORKERS) - ROUNDING), clause)


def _busy(figures: Figures) -> Demand:
    busy = math.ceil(figures.running / figures.window)
    return Demand(min(busy, figures.workers), f"{_jobs(figures.running)} running")


def _useful(figures: Figures) -> Demand:
    """Return the workers that the running jobs and those that can be delivered now occupy."""
    busy = math.ceil((figures.running + figures.deliverable) / figures.window)
    if figures.paused:
        return Demand(busy, "nothing is delivered: the service is paused or outside its windows")
    return Demand(busy, f"{figures.held_back} of {_jobs(figures.waiting)} cannot be delivered now")


def _before_deadlines(figures: Figures) -> Demand:
    """Return the workers with which every job starts in time, if more workers can still help."""
    if not figures.run_s:
        return Demand(0, "")
    most = Demand(0, "")
    count = 0
    for due in figures.due:
        count += due.count
        # A worker that is started now takes jobs only after it has loaded.
        left_s = due.within_s - (figures.load_s or 0)
        if left_s <= 0:
            continue
        # Each place starts one job at once, and another one each run_s.
        starts_per_worker = figures.window * (1 + left_s // figures.run_s)
        workers = math.ceil((count + figures.running) / starts_per_worker)
        if workers > most.workers:
            most = Demand(workers, f"{_jobs(count)} must start within {due.within_s:.0f} s")
    return most


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"
