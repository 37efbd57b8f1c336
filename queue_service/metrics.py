"""Every metric of the queue service, declared once, in the glossary's words."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

_LABELS = ("service", "queue")


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """The counters of one queue."""

    puts: Counter
    refusals: Counter
    gets: Counter
    deliveries: Counter
    commits: Counter
    completions: Counter
    rejections: Counter
    stale: Counter
    releases: Counter
    dead_letters: Counter
    deletions: Counter


class Metrics:
    """All metrics of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()

        def counter(name: str, text: str) -> Counter:
            return Counter(f"penstock_queue_{name}", text, _LABELS, registry=self.registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(
                f"penstock_queue_{name}",
                text,
                _LABELS,
                registry=self.registry,
                multiprocess_mode="mostrecent",
            )

        self._counters = {
            "puts": counter("puts", "Entries that were stored."),
            "refusals": counter("refusals", "Puts that were refused because the queue was full."),
            "gets": counter("gets", "Entries that were read by get."),
            "deliveries": counter("deliveries", "Entries that were handed to a subscriber."),
            "commits": counter("commits", "Entries that were committed."),
            "completions": counter("completions", "Deliveries that ended with a result."),
            "rejections": counter("rejections", "Deliveries that their subscriber gave back."),
            "stale": counter("stale_answers", "Answers of a subscriber that held it no more."),
            "releases": counter("releases", "Deliveries whose subscriber was lost."),
            "dead_letters": counter("dead_letters", "Entries out of hand-outs."),
            "deletions": counter("deletions", "Entries that were deleted or truncated."),
        }
        self.length = gauge("length", "Entries that are stored.")
        self.waiting = gauge("waiting", "Entries that the largest group still waits for.")
        self.held = gauge("held", "Entries in subscribers' hands.")
        self.subscribers = gauge("subscribers", "Subscribers with a lease.")

    def queue(self, service: str, role: str) -> QueueMetrics:
        """The counters of one queue, already labelled, so that counting is one addition."""
        return QueueMetrics(
            **{name: metric.labels(service, role) for name, metric in self._counters.items()}
        )
