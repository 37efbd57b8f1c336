"""What a worker counts, in the glossary's words."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from client_sdk.wire.load import Load
from inference_worker.engines.engine import Delta, Event, Progress, Usage

#: Upper bounds of the run time histogram, in seconds: from an echo to half an hour of video.
RUN_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class _Gauges(Collector):
    """Reads the load when it is asked for."""

    def __init__(self, load: Callable[[], Load], gauges: Callable[[], Mapping[str, float]]) -> None:
        self._load = load
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        load = self._load()
        numbers = {
            "running": ("Jobs that the engine works on.", load.running),
            "waiting": ("Jobs that are held and wait.", load.waiting),
            "capacity": ("Jobs that the engine takes at once.", load.limit),
            "memory_bytes": ("Memory of the worker's processes.", load.memory_bytes),
            "gpu_memory_bytes": ("Memory taken on its GPUs.", load.gpu_memory_bytes),
            "gpu_memory_total_bytes": ("Memory of its GPUs.", load.gpu_memory_total_bytes),
            "gpu_utilization": ("How busy its GPU is, 0 to 1.", load.gpu_utilization),
        }
        for name, (sentence, value) in numbers.items():
            yield GaugeMetricFamily(f"penstock_worker_{name}", sentence, value=value)
        own = GaugeMetricFamily(
            "penstock_worker_engine", "The engine's own numbers.", labels=["number"]
        )
        for name, value in self._gauges().items():
            own.add_metric([name], value)
        yield own


class Metrics:
    """The counters of one worker, in a registry of their own."""

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
            "refused_answers", "Answers that the queue service did not accept, by its code.", "code"
        )
        self.lost = self._counter(
            "lost_deliveries", "Deliveries that were taken away while they ran here."
        )
        self.stopped = self._counter(
            "stopped_deliveries",
            "Deliveries that were stopped because nobody wanted them any more.",
        )
        self.engine_deaths = self._counter(
            "engine_deaths", "How many times the engine's process ended, or was replaced."
        )
        self.timeouts = self._counter(
            "run_timeouts", "Jobs that were cut off because they ran for too long."
        )
        self.rests = self._counter(
            "rests", "How many times the worker rested because its engine failed in a row."
        )
        self.pieces = self._counter("pieces", "Pieces of output that engines gave.")
        self.tokens = self._counter(
            "tokens", "Tokens of prompts and of outputs, where the engine counts them.", "of"
        )
        self.progress = self._counter("progress", "How many times an engine told how far a job is.")
        self.held = self._gauge("held", "Deliveries that run here now, or wait for it.")
        self.window = self._gauge("window", "Deliveries taken at once.")
        self.run_seconds = Histogram(
            "penstock_worker_run_seconds",
            "From the beginning of a job to its end, in seconds.",
            buckets=RUN_SECONDS,
            registry=self.registry,
        )
        # `labels` costs more than the count itself; these are asked for at every job.
        self.with_result = self.completions.labels("result")
        self.without_result = self.completions.labels("empty")
        self.with_error = self.completions.labels("error")

    def note(self, event: Event) -> None:
        """Count what an engine told of a job that goes on."""
        match event:
            case Delta():
                self.pieces.inc()
            case Progress():
                self.progress.inc()
            case Usage(prompt_tokens, completion_tokens):
                self.tokens.labels("prompts").inc(prompt_tokens)
                self.tokens.labels("outputs").inc(completion_tokens)

    def watch(self, load: Callable[[], Load], gauges: Callable[[], Mapping[str, float]]) -> None:
        """Show a worker's load and its engine's own numbers, as they are when somebody looks."""
        self.registry.register(_Gauges(load, gauges))

    def render(self) -> bytes:
        """Return them all in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, sentence: str, *labels: str) -> Counter:
        return Counter(f"penstock_worker_{name}", sentence, labels, registry=self.registry)

    def _gauge(self, name: str, sentence: str) -> Gauge:
        return Gauge(f"penstock_worker_{name}", sentence, registry=self.registry)
