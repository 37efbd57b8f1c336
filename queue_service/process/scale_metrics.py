"""The gauges of autoscaling: what `/v1/services/{service}/scale` answers, for Prometheus."""

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

_NUMBERS: Mapping[str, str] = {
    "waiting": "Jobs that wait for a worker.",
    "deliverable": "Waiting jobs that another worker would get now.",
    "running": "Jobs that workers have.",
    "window": "Jobs that the ready workers can run at once.",
    "backlog_per_worker": "Waiting jobs per worker.",
    "oldest_seconds": "Time since the oldest stored entry was put.",
    "wait_seconds": "How long a new job would wait, by the estimate.",
    "run_seconds": "Mean time of a run.",
    "load_seconds": "Time from the start of a worker until it accepts jobs.",
    "cpu_percent": "Mean use of the CPUs that the workers may use.",
    "wanted_workers": "Workers that the running autoscaler wants.",
    "driver_failing": "1 while the autoscaler cannot start or stop workers.",
}


class ScaleMetrics:
    """One gauge for each number, and the workers by state; NaN where nothing is known."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(
                f"penstock_scale_{name}",
                text,
                ("service", *labels),
                registry=registry,
                multiprocess_mode="mostrecent",
            )

        self._numbers = {name: gauge(name, text) for name, text in _NUMBERS.items()}
        self._workers = gauge("workers", "Workers by state.", "state")
        self._seen: dict[str, frozenset[str]] = {}

    def show(
        self, service: str, numbers: Mapping[str, float | None], workers: Mapping[str, int]
    ) -> None:
        """Show the figures of one service."""
        for name, gauge in self._numbers.items():
            value = numbers[name]
            gauge.labels(service).set(math.nan if value is None else value)
        for state, count in workers.items():
            self._workers.labels(service, state).set(count)
        self._seen[service] = frozenset(workers)

    def forget(self, service: str) -> None:
        """Show nothing of a service that was deleted."""
        if (states := self._seen.pop(service, None)) is None:
            return
        for gauge in self._numbers.values():
            gauge.labels(service).set(math.nan)
        for state in states:
            self._workers.labels(service, state).set(0)
