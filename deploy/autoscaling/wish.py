"""From what the queue service answers to a wish for a number of workers.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from deploy.autoscaling.figures import DueJobs, Figures
from deploy.autoscaling.policy import Decision, History, decide
from deploy.autoscaling.schedule import Schedule, Target, target_at
from deploy.autoscaling.settings import Autoscaler


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the service is to be scaled by: an autoscaler, a schedule, or both."""

    autoscaler: Autoscaler | None = None
    schedule: Schedule | None = None


def read_figures(answer: Mapping[str, Any], *, starting: int) -> Figures:
    """Read the figures of /scale; starting: workers that the driver has started since.

    While the service is paused, more workers would not help: then nothing counts as waiting.
    """
    workers = answer["workers"]
    paused = bool(answer.get("paused"))
    waiting = 0 if paused else answer["waiting"]
    return Figures(
        waiting=waiting,
        running=answer["running"],
        # An older queue service does not say it.
        held_back=max(0, waiting - answer.get("deliverable", waiting)),
        paused=paused,
        workers=workers["ready"] + workers["resting"] + starting,
        loading=starting,
        window=answer["window_per_worker"] or 1,
        put_total=answer["put_total"] or 0,
        wait_s=None if paused else answer["wait_s"],
        run_s=answer["run_s"],
        load_s=answer["load_s"],
        cpu=answer["cpu"],
        due=()
        if paused
        else tuple(DueJobs(one["count"], one["within_s"]) for one in answer["due"]),
    )


def wish(
    figures: Figures,
    wanted: Wanted,
    history: History,
    *,
    now_s: float,
    date_s: float | None = None,
) -> tuple[Decision, History]:
    """Decide how many workers there should be.

    A schedule alone sets the number.  Beside an autoscaler it sets the least number.
    now_s: seconds of a clock that nobody sets.  date_s: seconds since 1970, for the schedule; by
    default, now_s.
    """
    date = datetime.fromtimestamp(now_s if date_s is None else date_s, UTC)
    target = target_at(wanted.schedule, date) if wanted.schedule else None
    settings = wanted.autoscaler
    if settings is None:
        if target is None:
            return Decision(figures.workers, "no scheduled time has come yet"), history
        return Decision(target.size, _scheduled(target)), history
    if target is None or target.size <= settings.min:
        return decide(figures, settings, history, now_s=now_s)
    most = max(settings.max, target.size)
    raised = settings.model_copy(update={"min": target.size, "max": most})
    decision, history = decide(figures, raised, history, now_s=now_s)
    reason = f"{decision.reason}; minimum {_scheduled(target)}"
    return replace(decision, reason=reason), history


def _scheduled(target: Target) -> str:
    name = f" ({target.name})" if target.name else ""
    return f"scheduled since {target.since:%Y-%m-%d %H:%M} UTC{name}"
