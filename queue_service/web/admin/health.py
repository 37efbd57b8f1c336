"""Health, readiness and metrics of the process."""

import asyncio
import contextlib
from dataclasses import asdict

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from queue_service.errors import StoreUnavailable
from queue_service.process.processes import shares_metrics
from queue_service.process.scale_metrics import ScaleMetrics
from queue_service.service.scaling import ScaleFigures
from queue_service.web.keys import METRICS, SERVICES


async def healthz(_: web.Request) -> web.Response:
    """Answer that the process runs."""
    return web.Response(text="ok")


async def readyz(request: web.Request) -> web.Response:
    """Answer whether the process can serve: Redis is available, and it is not stopping."""
    services = request.app[SERVICES]
    if services.draining:
        return web.Response(status=503, text="draining")
    if services.unreadable:
        return web.Response(status=503, text=services.unreadable)
    if not await services.is_ready():
        return web.Response(status=503, text="the store does not answer")
    return web.Response(text="ok")


async def metrics(request: web.Request) -> web.Response:
    """Answer in Prometheus' text format; gauges are read from the store now."""
    kept = request.app[METRICS]
    for service in request.app[SERVICES]:
        for queue in service.queues:
            try:
                state = await queue.attributes()
            except StoreUnavailable:
                continue
            labels = (service.name, queue.role)
            kept.length.labels(*labels).set(state.length)
            kept.full.labels(*labels).set(int(state.full))
            kept.bytes.labels(*labels).set(state.bytes)
            kept.file_bytes.labels(*labels).set(state.file_bytes)
            if queue.role == "sink":
                kept.read.labels(*labels).set(state.read)
                kept.read_dropped.labels(*labels).set(state.read_dropped)
            kept.waiting.labels(*labels).set(max((g.waiting for g in state.groups), default=0))
            kept.held.labels(*labels).set(sum(g.held for g in state.groups))
            kept.dead_letters.labels(*labels).set(state.dead_letters.now)
            for name, gauge in kept.dead_letter_sums.items():
                gauge.labels(*labels).set(getattr(state.dead_letters, name))
            if queue.role == "input":
                kept.open.labels(*labels).set(int(service.is_in_window))
                kept.paused.labels(*labels).set(int(state.paused_at_ms is not None))
            kept.subscribers.labels(*labels).set(len(state.subscribers))
        with contextlib.suppress(StoreUnavailable):
            _show_scale(kept.scale, service.name, await service.scaling.figures())
    registry = kept.registry
    if shares_metrics():
        # Each process counts into its own shared file; this adds them up.
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    text = await asyncio.to_thread(generate_latest, registry)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _show_scale(kept: ScaleMetrics, service: str, figures: ScaleFigures) -> None:
    numbers = {
        "waiting": figures.waiting,
        "deliverable": figures.deliverable,
        "running": figures.running,
        "window": figures.window,
        "backlog_per_worker": figures.backlog_per_worker,
        "oldest_seconds": figures.oldest_s,
        "wait_seconds": figures.wait_s,
        "run_seconds": figures.run_s,
        "load_seconds": figures.load_s,
        "cpu_percent": figures.cpu,
        "wanted_workers": figures.decision.wanted,
        "driver_failing": int(figures.decision.driver_error is not None),
    }
    kept.show(service, numbers, asdict(figures.workers))
