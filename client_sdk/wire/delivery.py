"""A delivery: an input entry that the service sends to a worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from client_sdk.wire.file_ref import FileRef, file_from_proto, file_to_proto
from client_sdk.wire.proto import worker_pb2
from client_sdk.wire.retry import AttemptPolicy


@dataclass(frozen=True, slots=True)
class Delivery:
    """An input entry that the service sends to a worker.

    attempt: the attempt number, from 1.  max_delivery: the most attempts; 0 means no limit.
    path: the sub-path of the original request below the service's; "" for none.
    stored_at_ms: when the entry was stored, in milliseconds since 1970 by Redis' clock.
    deaths: the number of different workers whose engine died while it ran this entry.
    events: whether clients follow the engine's events.
    run_timeout_ms: the longest this attempt may run; 0 means no limit.
    retry: the pauses after failures; None: it is delivered again at once.  The number of attempts
    is max_delivery.
    alone: no other job may run beside it.
    owner_mark: an opaque mark, the same for all entries of one owner.
    has_rivals: whether other owners have entries that wait or run.
    payload_file: the payload, if it is kept as a file; data is empty then.
    files: the files that the payload's JSON names as {"$file": id}.
    artifact_bytes: the most bytes of all artifacts that the job may add; 0 if the service keeps
    none of it.
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
    payload_file: FileRef | None = None
    files: tuple[FileRef, ...] = ()
    artifact_bytes: int = 0

    @property
    def last_attempt(self) -> bool:
        """True if the dead-letter policy applies after a rejection of this delivery."""
        return 0 < self.max_delivery <= self.attempt


def delivery_to_proto(delivery: Delivery) -> worker_pb2.Delivery:
    """Encode a delivery."""
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
        artifact_bytes=delivery.artifact_bytes,
    )
    if delivery.payload_file is not None:
        proto.payload_file.CopyFrom(file_to_proto(delivery.payload_file))
    if delivery.files:
        proto.files.extend(map(file_to_proto, delivery.files))
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
    """Decode a delivery."""
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
        payload_file=(
            file_from_proto(proto.payload_file) if proto.HasField("payload_file") else None
        ),
        files=tuple(map(file_from_proto, proto.files)),
        artifact_bytes=proto.artifact_bytes,
    )
