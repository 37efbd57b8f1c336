"""docs/metrics.md, written from the metrics themselves: `make docs`."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from client_sdk.wire.load import Load
from inference_worker.gpu_guard import GpuGuard
from inference_worker.metrics import Metrics as WorkerMetrics
from queue_service.process.metrics import Metrics as QueueServiceMetrics
from tests.documents.blocks import ROOT

DOCUMENT = ROOT / "docs" / "metrics.md"

_HEAD = """\
# Metrics

Every metric, generated from the programs, in the format of Prometheus.
[Monitor and alert](production.md#monitor-and-alert) has rules for the important ones.
"""
_QUEUE_SERVICE = """
## Queue service

`/metrics` needs the admin token. The counters belong to one process: add those of all replicas.
Gauges of a queue come from the store and are the same in every process: take the maximum, not the
sum. `queue` is `input` or `sink`. `penstock_scale_*` are the
[figures of autoscaling](../queue_service/PROTOCOL.md#figures-of-autoscaling); NaN means unknown.
"""
_WORKER = """
## Worker

Set `PENSTOCK_WORKER_METRICS_PORT` to open the port. GPU memory needs torch, and GPU utilization
needs pynvml. The two metrics `gpu_state` and `gpu_quarantines` exist with
[watched GPUs](gpus.md#health).
"""


def page() -> str:
    """Return the page as the metrics are now."""
    worker = WorkerMetrics()
    worker.watch(Load, dict)
    GpuGuard(exclusive=True, registry=worker.registry)
    return "\n".join(
        [
            _HEAD.rstrip("\n"),
            _QUEUE_SERVICE,
            *_table(QueueServiceMetrics().registry),
            _WORKER,
            *_table(worker.registry),
            "",
        ]
    )


def _table(registry: CollectorRegistry) -> Iterator[str]:
    yield "| metric | type | meaning |\n|---|---|---|"
    for metric in sorted(registry.collect(), key=lambda one: one.name):
        yield f"| `{_name(metric)}` | {metric.type} | {metric.documentation} |"


def _name(metric: Metric) -> str:
    # A counter is exposed under this name.
    return f"{metric.name}_total" if metric.type == "counter" else metric.name
