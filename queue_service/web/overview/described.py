"""A service as an overview shows it: short for the list, whole for its own page."""

import asyncio
from dataclasses import asdict
from typing import Any

from queue_service.service.access import now_ms
from queue_service.service.activity import Pace
from queue_service.service.queues import Queue
from queue_service.service.scaling import ScaleFigures
from queue_service.service.service import Service
from queue_service.service.sink_wording import why_full
from queue_service.store.activity import Minute
from queue_service.store.state import QueueState, SubscriberState

#: The minutes that a list of services shows.
HOUR = 60
#: Settings that are not shown: the name, which is known, and secrets.
_SECRETS = frozenset({"name", "token", "token_sha256", "worker_token", "worker_token_sha256"})
#: What workers report about themselves, with the value if one is missing.
_ABOUT: dict[str, object] = {"engine": "", "version": "", "host": "", "gpu": "", "pid": None}
_LOAD: dict[str, object] = {
    "running": 0,
    "limit": 0,
    "memory_bytes": 0,
    "gpu_memory_bytes": 0,
    "gpu_memory_total_bytes": 0,
    "gpu_utilization": 0.0,
    "gpu_state": "",
    "gpu_reason": "",
    "cpu_percent": None,
    "load_s": 0.0,
    "state": "",
}


async def describe(service: Service) -> dict[str, Any]:
    """Describe a service as the list of all services shows it, in four reads of the store."""
    input_state, sink_state, figures, pace = await asyncio.gather(
        service.input.attributes(),
        service.sink.attributes(),
        service.scaling.figures(),
        service.activity.pace(HOUR),
    )
    return {
        "name": service.name,
        "state": str(service.description.state),
        "origin": str(service.description.origin),
        "paused_at_ms": input_state.paused_at_ms,
        "window": _window(service),
        "waiting": figures.waiting,
        "running": figures.running,
        "oldest_s": figures.oldest_s,
        "expected_wait_s": _rounded(figures.wait_s),
        "input": _queue(service.input, input_state),
        "sink": {
            **_queue(service.sink, sink_state),
            "read": sink_state.read,
            "full_because": await _why_full(service, sink_state),
        },
        "dead_letters": input_state.dead_letters.now + sink_state.dead_letters.now,
        "workers": _workers(input_state, figures, service.workers_gid),
        "pace": _pace(pace),
    }


async def describe_whole(service: Service, *, with_workers: bool) -> dict[str, Any]:
    """Describe a service for its own page.  with_workers: each worker too, for its operators."""
    described = await describe(service)
    settings = service.description.settings.model_dump(mode="json", exclude=set(_SECRETS))
    workers: list[dict[str, object]] | None = None
    if with_workers:
        state = await service.input.attributes()
        workers = [_worker(one) for one in state.subscribers if one.gid == service.workers_gid]
    return {
        **described,
        "revision": service.description.revision,
        "has_token": not service.is_open,
        "file_bytes": await service.files.used_bytes(),
        "settings": settings,
        "worker_list": workers,
    }


def describe_minutes(minutes: tuple[Minute, ...], *, step: int) -> dict[str, list[object]]:
    """Return series of the runs that ended: one value for each `step` minutes, oldest first.

    The mean wait of a step without runs is null.
    """
    groups = [minutes[first : first + step] for first in range(0, len(minutes), step)]
    runs = [sum(one.runs for one in group) for group in groups]
    waits = [sum(one.wait_ms for one in group) for group in groups]
    times = [sum(one.run_ms for one in group) for group in groups]
    return {
        "runs": list(runs),
        "failed": [sum(one.failed for one in group) for group in groups],
        "wait_s": [_mean_s(total, count) for total, count in zip(waits, runs, strict=True)],
        "run_s": [_mean_s(total, count) for total, count in zip(times, runs, strict=True)],
    }


def _mean_s(total_ms: int, count: int) -> float | None:
    return round(total_ms / count / 1000, 3) if count else None


def _queue(queue: Queue, state: QueueState) -> dict[str, object]:
    return {
        "length": state.length,
        # Of the capacity: a large entry takes several.
        "places": state.length + state.more_places,
        "capacity": queue.limits.capacity,
        "max_payload_bytes": queue.limits.payload_bytes,
        "full": state.full,
        "bytes": state.bytes,
        "dead_letters": state.dead_letters.now,
    }


async def _why_full(service: Service, state: QueueState) -> str | None:
    found = await service.tickets.sink.state_if_full("") if state.full else None
    return None if found is None else why_full(found)


def _window(service: Service) -> dict[str, object] | None:
    if not service.windows.windows:
        return None
    changes_at = service.windows.next_change_ms(now_ms())
    return {"open": service.is_in_window, "changes_at_ms": changes_at}


def _workers(state: QueueState, figures: ScaleFigures, gid: str) -> dict[str, object]:
    loads = [one.about.get("load") or {} for one in state.subscribers if one.gid == gid]
    unhealthy = [one for one in loads if one.get("gpu_state") in ("quarantined", "suspect")]
    decision = figures.decision
    return {
        "total": figures.workers.total,
        **asdict(figures.workers),
        "unhealthy": len(unhealthy),
        "window": figures.window,
        "wanted": decision.wanted,
        "existing": decision.existing,
        "reason": decision.reason,
        "driver_error": decision.driver_error,
    }


def _worker(worker: SubscriberState) -> dict[str, object]:
    about = worker.about
    load = about.get("load") or {}
    return {
        "uid": worker.uid,
        "owner": worker.owner or None,
        "window": worker.window,
        "held": worker.held,
        "connected": worker.connected,
        "leaving": worker.leaving,
        "since_ms": about.get("since_ms"),
        **{name: about.get(name, absent) for name, absent in _ABOUT.items()},
        "load": {name: load.get(name, absent) for name, absent in _LOAD.items()},
    }


def _pace(pace: Pace) -> dict[str, object]:
    return {
        "per_minute": round(pace.per_minute, 2),
        "hour": {"runs": pace.runs, "failed": pace.failed},
        "wait_s": {"p50": _rounded(pace.wait_p50_s), "p95": _rounded(pace.wait_p95_s)},
        "run_s": {"p50": _rounded(pace.run_p50_s), "p95": _rounded(pace.run_p95_s)},
        "runs": [minute.runs for minute in pace.minutes],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
