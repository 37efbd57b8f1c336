"""What a worker counts, in the glossary's words."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

#: Upper bounds of the run time histogram, in seconds: from an echo to half an hour of video.
RUN_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """The counters of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = Counter(
            "penstock_worker_deliveries",
            "Deliveries that arrived, redeliveries included.",
            registry=self.registry,
        )
        self.completions = Counter(
            "penstock_worker_completions",
            "Deliveries answered with a completion, by end: result, empty or error.",
            ["end"],
            registry=self.registry,
        )
        self.rejections = Counter(
            "penstock_worker_rejections",
            "Deliveries answered with a rejection, by its code.",
            ["code"],
            registry=self.registry,
        )
        self.refused = Counter(
            "penstock_worker_refused_answers",
            "Answers that the queue service did not accept, by its code.",
            ["code"],
            registry=self.registry,
        )
        self.lost = Counter(
            "penstock_worker_lost_deliveries",
            "Deliveries that were taken away while they ran here.",
            registry=self.registry,
        )
        self.engine_deaths = Counter(
            "penstock_worker_engine_deaths",
            "How many times the engine's process ended by itself.",
            registry=self.registry,
        )
        self.held = Gauge(
            "penstock_worker_held", "Deliveries that run here now.", registry=self.registry
        )
        self.window = Gauge(
            "penstock_worker_window", "Deliveries taken at once.", registry=self.registry
        )
        self.run_seconds = Histogram(
            "penstock_worker_run_seconds",
            "From the arrival of a delivery to its answer, in seconds.",
            buckets=RUN_SECONDS,
            registry=self.registry,
        )
        # `labels` costs more than the count itself; these are asked for at every job.
        self.with_result = self.completions.labels("result")
        self.without_result = self.completions.labels("empty")
        self.with_error = self.completions.labels("error")

    def render(self) -> bytes:
        """Return them all in Prometheus' text format."""
        return generate_latest(self.registry)
