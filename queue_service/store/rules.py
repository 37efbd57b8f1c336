"""The limits and policies of one queue, as its scripts see them."""

import json
from dataclasses import dataclass

from client_sdk.wire.retry import AttemptPolicy

#: The largest payload in a file that an API reads as a whole, in bytes.
MOST_READ_BYTES = 32 * 1024 * 1024
#: How long usage is kept, in ms: 90 days.
USAGE_MS = 90 * 86_400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one queue holds.

    payload_bytes: of one payload, wherever it is stored.  inline_bytes: the largest payload that
    Redis stores; a larger one goes to a file.  None is every one.
    place_bytes: an entry with more data than this takes several places of the capacity; 0 means
    that every entry takes one.
    """

    capacity: int
    payload_bytes: int
    inline_bytes: int | None = None
    place_bytes: int = 0

    @property
    def stored_bytes(self) -> int:
        """The largest payload that Redis stores."""
        if self.inline_bytes is None:
            return self.payload_bytes
        return min(self.payload_bytes, self.inline_bytes)

    @property
    def has_files(self) -> bool:
        """Whether payloads above `inline_bytes` go to files."""
        return self.inline_bytes is not None

    @property
    def read_bytes(self) -> int:
        """The largest payload that an API reads as a whole, such as one with JSON in it."""
        if self.inline_bytes is None:
            return self.payload_bytes
        return min(self.payload_bytes, max(self.inline_bytes, MOST_READ_BYTES))

    def places_of(self, size_bytes: int) -> int:
        """How many places of the capacity this much data takes."""
        return -(-size_bytes // self.place_bytes) if self.place_bytes else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits and policies of one queue.

    A change of the settings makes new rules and swaps them in its store (`Store.change`), so
    nobody needs to track changes: read `store.rules` when you need a rule.

    evicts: a full queue drops its oldest entry instead of refusing a new one.  sink_capacity,
    sink_evicts, sink_place_bytes: the same of the service's sink.
    result_places: places of the sink that are kept for the result of each held entry.
    max_delivery: most attempts of one entry, 0 for any number.  retry: the retry policy of the
    service, if it has one.
    max_idle_ms: the longest that one delivery may be held, 0 for any time.
    max_dead_letters: a newer dead letter above this number replaces an old one.
    fair: owners take turns; otherwise entries go out in the order of their indexes.
    idempotency_ms: how long the key of a repeatable put is kept.
    max_events, max_event_bytes: the most events kept of one request.  events_ms: how long they
    are kept after the newest.  max_log_bytes: of the log of one attempt, 0 for none.
    workers_gid: the group of the service's workers.
    webhooks: the final states that an endpoint of the service wants to know of.
    usage_ms: how long usage is kept.
    open: the service's time windows let its entries go out now.  closed_accounts: those of tokens
    whose windows do not.
    """

    limits: Limits
    evicts: bool
    sink_capacity: int
    sink_evicts: bool
    sink_place_bytes: int
    result_places: int
    max_delivery: int
    retry: AttemptPolicy | None
    dead_message_policy: str
    max_dead_letters: int
    max_idle_ms: int
    fair: bool
    idempotency_ms: int
    max_events: int
    max_event_bytes: int
    max_log_bytes: int
    events_ms: int
    workers_gid: str
    open: bool = True
    closed_accounts: frozenset[str] = frozenset()
    webhooks: frozenset[str] = frozenset()
    usage_ms: int = USAGE_MS

    def to_json(self) -> str:
        """Return the rules as prelude/rules.lua reads them."""
        return json.dumps(
            {
                "capacity": self.limits.capacity,
                "evicts": self.evicts,
                "sink_capacity": self.sink_capacity,
                "sink_evicts": self.sink_evicts,
                "place_bytes": self.limits.place_bytes,
                "sink_place_bytes": self.sink_place_bytes,
                "result_places": self.result_places,
                "max_delivery": self.max_delivery,
                # An entry whose attempts a retry policy has used up is answered: at the rear of
                # the queue its attempts would count from 0 again.
                "has_retry_policy": self.retry is not None,
                "dead_message_policy": self.dead_message_policy,
                "max_dead_letters": self.max_dead_letters,
                "max_idle_ms": self.max_idle_ms,
                "fair": self.fair,
                "idempotency_ms": self.idempotency_ms,
                "max_events": self.max_events,
                "max_event_bytes": self.max_event_bytes,
                "max_log_bytes": self.max_log_bytes,
                "events_ms": self.events_ms,
                "workers_gid": self.workers_gid,
                "open": self.open,
                "closed_accounts": dict.fromkeys(sorted(self.closed_accounts), True),
                "webhooks": dict.fromkeys(sorted(self.webhooks), True),
                "usage_ms": self.usage_ms,
            },
            separators=(",", ":"),
        )
