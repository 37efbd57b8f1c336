"""An input entry handed to a worker, as a plain value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from client_sdk.wire.proto import worker_pb2
from client_sdk.wire.retry import AttemptPolicy


@dataclass(frozen=True, slots=True)
class Delivery:
    """An input entry handed to a worker.

    attempt: 1 on the first hand-out.  max_delivery: the most hand-outs; 0 is without limit.
    path: the sub-path of the original request, without the service's own; "" for none.
    stored_at_ms: when the entry was stored, in milliseconds since 1970 by Redis' clock.
    deaths: how many different workers' engines have died while they ran it.
    events: whether what the engine tells while it runs is wanted.
    run_timeout_ms: the longest this attempt may run; 0 is without such a limit.
    retry: how it pauses after a failure; None where it goes out again at once.  How often it is
    tried, max_delivery says.
    alone: nothing else may run beside it.
    owner_mark: the same for entries of one owner, and it says nothing else of that one.
    has_rivals: whether other owners have entries in line or at workers.
    """

    index: int
    attempt: int
    request_id: str
    data: bytes
    tags: Mapping[str, str] = field(default_factory=dict)
    max_delivery: int = 0
    path: str = ""
    content_type: str = ""
    stored_at_ms: int = 0
    priority: int = 0
    deaths: int = 0
    events: bool = False
    run_timeout_ms: int = 0
    retry: AttemptPolicy | None = None
    alone: bool = False
    owner_mark: bytes = b""
    has_rivals: bool = False

    @property
    def last_attempt(self) -> bool:
        """True when a rejection of this delivery would be followed by the dead-letter policy."""
        return 0 < self.max_delivery <= self.attempt


def delivery_to_proto(delivery: Delivery) -> worker_pb2.Delivery:
    """Return it as protobuf has it."""
    proto = worker_pb2.Delivery(
        index=delivery.index,
        attempt=delivery.attempt,
        max_delivery=delivery.max_delivery,
        request_id=delivery.request_id,
        tags=delivery.tags,
        data=delivery.data,
        path=delivery.path,
        content_type=delivery.content_type,
        stored_at_ms=delivery.stored_at_ms,
        priority=delivery.priority,
        deaths=delivery.deaths,
        events=delivery.events,
        run_timeout_ms=delivery.run_timeout_ms,
        alone=delivery.alone,
        owner_mark=delivery.owner_mark,
        has_rivals=delivery.has_rivals,
    )
    if delivery.retry is not None:
        proto.retry.CopyFrom(
            worker_pb2.Retry(
                first_pause_ms=round(delivery.retry.first_pause_s * 1000),
                factor=delivery.retry.factor,
                longest_pause_ms=round(delivery.retry.longest_pause_s * 1000),
                jitter=delivery.retry.jitter,
            )
        )
    return proto


def delivery_from_proto(proto: worker_pb2.Delivery) -> Delivery:
    """Read a delivery."""
    retry = None
    if proto.HasField("retry"):
        retry = AttemptPolicy(
            max_attempts=proto.max_delivery,
            first_pause_s=proto.retry.first_pause_ms / 1000,
            factor=max(1.0, proto.retry.factor),
            longest_pause_s=proto.retry.longest_pause_ms / 1000,
            jitter=proto.retry.jitter,
        )
    return Delivery(
        index=proto.index,
        attempt=proto.attempt,
        request_id=proto.request_id,
        data=proto.data,
        tags=dict(proto.tags),
        max_delivery=proto.max_delivery,
        path=proto.path,
        content_type=proto.content_type,
        stored_at_ms=proto.stored_at_ms,
        priority=proto.priority,
        deaths=proto.deaths,
        events=proto.events,
        run_timeout_ms=proto.run_timeout_ms,
        retry=retry,
        alone=proto.alone,
        owner_mark=proto.owner_mark,
        has_rivals=proto.has_rivals,
    )
