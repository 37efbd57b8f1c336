"""Every metric of the queue service, declared once, in the glossary's words."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

from queue_service.process.scale_metrics import ScaleMetrics

_LABELS = ("service", "queue")
_DEAD_LETTER_SUMS = {
    "parked": "Entries that became dead letters, ever.",
    "dropped": "Entries that the policy Drop deleted, ever.",
    "reared": "Entries that the policy Rear put back at the tail, ever.",
    "replayed": "Dead letters that were put back, ever.",
    "purged": "Dead letters that were removed, ever.",
    "crowded_out": "Dead letters that newer ones crowded out, ever.",
}


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
    overdue: Counter
    deletions: Counter
    fillings: Counter


@dataclass(frozen=True, slots=True)
class ConnectionMetrics:
    """What one process counts of its connections."""

    open: Gauge
    refused: Counter
    slow_heads: Counter
    slow_readers: Counter
    held_bytes: Gauge


def _connections(registry: CollectorRegistry) -> ConnectionMetrics:
    def total(name: str, text: str) -> Counter:
        return Counter(f"penstock_{name}", text, registry=registry)

    def level(name: str, text: str) -> Gauge:
        return Gauge(f"penstock_{name}", text, registry=registry, multiprocess_mode="livesum")

    return ConnectionMetrics(
        open=level("connections", "Connections that are open."),
        refused=total("refused_connections", "Connections above the limit."),
        slow_heads=total("slow_heads", "Connections whose request did not arrive in time."),
        slow_readers=total("slow_readers", "Connections whose client read nothing."),
        held_bytes=level("request_bytes", "Bytes of requests that are held."),
    )


def _wrong_tokens(registry: CollectorRegistry) -> Counter:
    text = "Requests without the right token."
    return Counter("penstock_wrong_tokens", text, registry=registry)


def _webhooks(registry: CollectorRegistry) -> Counter:
    text = "Attempts to send a webhook, by outcome; `dropped`: too many were waiting."
    return Counter("penstock_webhooks", text, ("service", "outcome"), registry=registry)


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

        self.wrong_tokens = _wrong_tokens(self.registry)
        self.webhooks = _webhooks(self.registry)
        self.connections = _connections(self.registry)
        self._counters = {
            "puts": counter("puts", "Entries that were stored."),
            "refusals": counter(
                "refusals", "Puts that were refused: the queue or a quota was full."
            ),
            "gets": counter("gets", "Entries that were read by get."),
            "deliveries": counter("deliveries", "Entries that were sent to a subscriber."),
            "commits": counter("commits", "Entries that were committed."),
            "completions": counter("completions", "Deliveries that ended with a result."),
            "rejections": counter("rejections", "Deliveries that their subscriber rejected."),
            "stale": counter(
                "stale_answers", "Answers of a subscriber that no longer held the entry."
            ),
            "releases": counter("releases", "Deliveries whose subscriber's lease ended."),
            "overdue": counter("overdue", "Deliveries that were held for longer than max_idle."),
            "deletions": counter("deletions", "Entries that were deleted or truncated."),
            "fillings": counter(
                "fillings", "How often unread results have filled the sink and stopped deliveries."
            ),
        }
        self.length = gauge("length", "Entries that are stored.")
        self.full = gauge(
            "full", "1 while the queue accepts nothing, or unread results fill the sink, else 0."
        )
        self.bytes = gauge("bytes", "Bytes that the entries take in Redis, as Redis estimates.")
        self.file_bytes = gauge("file_bytes", "Bytes that the entries have in files.")
        self.read = gauge("read", "Results that were read, and stay until the sink needs room.")
        self.read_dropped = gauge(
            "read_dropped", "Results that were read and then dropped to make room, ever."
        )
        self.waiting = gauge("waiting", "Entries that the largest group still waits for.")
        self.held = gauge("held", "Entries that subscribers hold.")
        self.dead_letters = gauge("dead_letters", "Dead letters that are kept.")
        #: Since the queue was created; from the store, so the same in every replica.
        self.dead_letter_sums = {
            name: gauge(f"dead_letters_{name}", text) for name, text in _DEAD_LETTER_SUMS.items()
        }
        self.subscribers = gauge("subscribers", "Subscribers with a lease.")
        self.open = gauge("open", "1 while the time windows of the service are open, else 0.")
        self.paused = gauge("paused", "1 while the service is paused and delivers nothing, else 0.")
        self.scale = ScaleMetrics(self.registry)

    def forget(self, service: str) -> None:
        """Show nothing of a service that is gone; what was counted for it stays counted."""
        for gauge in (self.length, self.full, self.waiting, self.held, self.subscribers):
            for queue in ("input", "sink"):
                gauge.labels(service, queue).set(0)
        self.paused.labels(service, "input").set(0)
        self.open.labels(service, "input").set(0)
        self.scale.forget(service)

    def queue(self, service: str, role: str) -> QueueMetrics:
        """The counters of one queue, already labelled, so that counting is one addition."""
        return QueueMetrics(
            **{name: metric.labels(service, role) for name, metric in self._counters.items()}
        )
