"""Events of running deliveries, and their confirmations, as plain values.

`proto/worker.proto` has the field numbers; `worker.py` has the other messages.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from client_sdk.wire.proto import worker_pb2

#: The kinds of events.  The data of a delta is a piece of output; of the others it is JSON.
DELTA, PROGRESS, USAGE = "delta", "progress", "usage"
#: Files that the job adds beside its result; see artifacts.py.
ARTIFACT = "artifact"
#: Lines of its log; see job_log.py.  Only services with a limit in their Welcome take them.
LOG = "log"
KINDS = (DELTA, PROGRESS, USAGE, ARTIFACT, LOG)
#: An event that the service itself stores after a failed attempt that is followed by another.
FAILED = "failed"
#: An event that the service itself stores before the first one of an attempt.
ATTEMPT = "attempt"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of an engine.

    number: counts the events of an attempt, from 1.  tokens: of a delta, if known.  chunks: of a
    delta, lines as in chunks.py.
    """

    index: int
    attempt: int
    request_id: str
    number: int
    kind: str
    data: bytes
    tokens: int = 0
    chunks: bytes = b""

    @property
    def size_bytes(self) -> int:
        """The size of what it carries."""
        return len(self.data) + len(self.chunks)


@dataclass(frozen=True, slots=True)
class Events:
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class EventNoted:
    """All events up to this number were stored, or are no longer needed."""

    index: int
    attempt: int
    number: int


@dataclass(frozen=True, slots=True)
class EventsNoted:
    noted: tuple[EventNoted, ...]


def events_to_proto(events: Iterable[Event]) -> worker_pb2.Events:
    """Encode events."""
    return worker_pb2.Events(
        events=[
            worker_pb2.Event(
                index=event.index,
                attempt=event.attempt,
                request_id=event.request_id,
                number=event.number,
                kind=event.kind,
                data=event.data,
                tokens=event.tokens,
                chunks=event.chunks,
            )
            for event in events
        ]
    )


def events_from_proto(proto: worker_pb2.Events) -> Events:
    """Decode events."""
    return Events(
        tuple(
            Event(
                index=item.index,
                attempt=item.attempt,
                request_id=item.request_id,
                number=item.number,
                kind=item.kind,
                data=item.data,
                tokens=item.tokens,
                chunks=item.chunks,
            )
            for item in proto.events
        )
    )


def noted_to_proto(noted: Iterable[EventNoted]) -> worker_pb2.EventsNoted:
    """Encode confirmations."""
    return worker_pb2.EventsNoted(
        noted=[
            worker_pb2.EventNoted(index=item.index, attempt=item.attempt, number=item.number)
            for item in noted
        ]
    )


def noted_from_proto(proto: worker_pb2.EventsNoted) -> EventsNoted:
    """Decode confirmations."""
    return EventsNoted(
        tuple(EventNoted(item.index, item.attempt, item.number) for item in proto.noted)
    )
