"""The metrics of a worker."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from client_sdk.wire.load import Load
from inference_worker.engines.engine import Delta, Event, Progress, Usage

#: Upper bounds of the run time histogram, in seconds: from an echo to half an hour of video.
RUN_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class _Gauges(Collector):
    """Reads the load when the metrics are read."""

    def __init__(self, load: Callable[[], Load], gauges: Callable[[], Mapping[str, float]]) -> None:
        self._load = load
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        load = self._load()
        numbers = {
            "running": ("Jobs that run in the engine.", load.running),
            "waiting": ("Held jobs that wait to run.", load.waiting),
            "capacity": ("Jobs that the engine can run at once.", load.limit),
            "memory_bytes": ("Memory of the worker's processes.", load.memory_bytes),
            "gpu_memory_bytes": ("Used memory of its GPUs.", load.gpu_memory_bytes),
            "gpu_memory_total_bytes": ("Memory of its GPUs.", load.gpu_memory_total_bytes),
            "gpu_utilization": ("Utilization of its GPU, 0 to 1.", load.gpu_utilization),
        }
        for name, (sentence, value) in numbers.items():
            yield GaugeMetricFamily(f"penstock_worker_{name}", sentence, value=value)
        own = GaugeMetricFamily(
            "penstock_worker_engine", "Numbers that the engine reports.", labels=["number"]
        )
        for name, value in self._gauges().items():
            own.add_metric([name], value)
        yield own


class Metrics:
    """The metrics of one worker, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = self._counter(
            "deliveries", "Deliveries that arrived, redeliveries included."
        )
        self.completions = self._counter(
            "completions",
            "Deliveries answered with a completion, by end: result, empty or error.",
            "end",
        )
        self.rejections = self._counter(
            "rejections", "Deliveries answered with a rejection, by its code.", "code"
        )
        self.failures = self._counter(
            "failures", "Attempts that failed here, by the type of the failure.", "type"
        )
        self.refused = self._counter(
            "refused_answers", "Answers that the queue service refused, by its code.", "code"
        )
        self.lost = self._counter(
            "lost_deliveries", "Deliveries that the queue service took away while they ran here."
        )
        self.stopped = self._counter(
            "stopped_deliveries", "Deliveries that were stopped because their job was canceled."
        )
        self.engine_deaths = self._counter(
            "engine_deaths", "How often the engine's process ended or was replaced."
        )
        self.timeouts = self._counter(
            "run_timeouts", "Jobs that were stopped because they exceeded their run time-out."
        )
        self.rests = self._counter(
            "rests", "How often the worker paused because too many jobs in a row had failed."
        )
        self.pieces = self._counter("pieces", "Pieces of output from the engine.")
        self.tokens = self._counter(
            "tokens", "Tokens of prompts and of outputs, if the engine counts them.", "of"
        )
        self.progress = self._counter("progress", "Progress reports from the engine.")
        self.held = self._gauge("held", "Deliveries that run here now, or wait to run.")
        self.window = self._gauge("window", "The most deliveries that are held at once.")
        self.run_seconds = Histogram(
            "penstock_worker_run_seconds",
            "Time from the start of a job to its end, in seconds.",
            buckets=RUN_SECONDS,
            registry=self.registry,
        )
        # Hot path: `labels` costs more than the count itself, and every job needs one of these.
        self.with_result = self.completions.labels("result")
        self.without_result = self.completions.labels("empty")
        self.with_error = self.completions.labels("error")

    def note(self, event: Event) -> None:
        """Count an event of a running job."""
        match event:
            case Delta():
                self.pieces.inc()
            case Progress():
                self.progress.inc()
            case Usage(prompt_tokens, completion_tokens):
                self.tokens.labels("prompts").inc(prompt_tokens)
                self.tokens.labels("outputs").inc(completion_tokens)

    def watch(self, load: Callable[[], Load], gauges: Callable[[], Mapping[str, float]]) -> None:
        """Add a worker's load and its engine's numbers, read whenever the metrics are read."""
        self.registry.register(_Gauges(load, gauges))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, sentence: str, *labels: str) -> Counter:
        return Counter(f"penstock_worker_{name}", sentence, labels, registry=self.registry)

    def _gauge(self, name: str, sentence: str) -> Gauge:
        return Gauge(f"penstock_worker_{name}", sentence, registry=self.registry)
