"""The messages of the worker connection, as plain values.

A worker opens a WebSocket, sends Hello and gets Welcome.  Then the service sends Deliveries, up to
the worker's window.  The worker answers each with a Completion or a Rejection, and the service
confirms every answer with an Outcome.  (index, attempt) is the fencing token: an answer whose
attempt is no longer the newest is refused and changes nothing.

`proto/worker.proto` has the field numbers; code outside this package does not use protobuf.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from client_sdk.wire.delivery import Delivery as Delivery  # noqa: PLC0414 (a message too)
from client_sdk.wire.delivery import delivery_from_proto, delivery_to_proto
from client_sdk.wire.errors import WireError
from client_sdk.wire.events import (
    Events,
    EventsNoted,
    events_from_proto,
    events_to_proto,
    noted_from_proto,
    noted_to_proto,
)
from client_sdk.wire.greeting import Held as Held  # noqa: PLC0414
from client_sdk.wire.greeting import Hello as Hello  # noqa: PLC0414
from client_sdk.wire.greeting import Welcome as Welcome  # noqa: PLC0414
from client_sdk.wire.greeting import (
    held_from_proto,
    held_to_proto,
    hello_from_proto,
    hello_to_proto,
    welcome_from_proto,
    welcome_to_proto,
)
from client_sdk.wire.load import Load, load_from_proto, load_to_proto
from client_sdk.wire.proto import worker_pb2


@dataclass(frozen=True, slots=True)
class Deliveries:
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The result for the sink; its tags are added to the input entry's and replace equal names.

    file: the id of the file that the worker has uploaded as the result; data is empty then.
    """

    data: bytes
    tags: Mapping[str, str] = field(default_factory=dict)
    file: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job has failed for good; type: one of client_sdk.wire.failures, "" if unknown."""

    code: str
    reason: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """The delivery is done.  Without a result, the input entry is removed and the sink gets
    nothing.

    failed: the result describes this failure; the service keeps a dead letter, if its policy says
    so.  None for a success, and for a failure that the client caused.
    prompt_tokens, completion_tokens: of a language model, 0 if unknown.
    """

    index: int
    attempt: int
    result: Result | None
    failed: Failure | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Completions:
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class Rejection:
    """The delivery was not done and is delivered again; `Shutdown` does not use up an attempt.

    type: one of client_sdk.wire.failures; "" from an older worker.
    pause_ms: how long the entry waits before it.  alone: it goes to the same worker, which runs it
    alone.  request_id: of a request whose events are followed, else "".
    uncharged: the engine died with jobs of several owners, so this attempt does not count.
    """

    index: int
    attempt: int
    code: str
    reason: str = ""
    type: str = ""
    pause_ms: int = 0
    alone: bool = False
    request_id: str = ""
    uncharged: bool = False


@dataclass(frozen=True, slots=True)
class Rejections:
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class Renew:
    """The worker is alive; sent every third of the lease."""

    load: Load | None = None


@dataclass(frozen=True, slots=True)
class SetWindow:
    """Changes the most deliveries that the worker holds at once; 0 while it drains."""

    window: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The reply to one Completion or Rejection; `code` is the reason if it was not accepted."""

    index: int
    attempt: int
    accepted: bool
    code: str = ""


@dataclass(frozen=True, slots=True)
class Outcomes:
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """These deliveries no longer belong to this worker: it held them for too long."""

    deliveries: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Stops:
    """These were canceled: the worker stops them, then rejects them with `Canceled`."""

    stops: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """From the service, after every delivery: the worker finishes what it has, then exits.

    From the worker: it asks for that, because it has nothing to do.  Both sides announce in Hello
    and Welcome that they understand it.
    """


FromWorker = Hello | Completions | Rejections | Renew | SetWindow | Events | Leave
ToWorker = Welcome | Deliveries | Outcomes | EventsNoted | Stops | Taken | Leave


def encode_from_worker(message: FromWorker) -> bytes:
    """Encode a message of the worker."""
    proto = worker_pb2.FromWorker()
    match message:
        case Completions(completions):
            for completion in completions:
                _add_completion(proto.complete, completion)
        case Rejections(rejections):
            proto.reject.rejections.extend(
                worker_pb2.Rejection(
                    index=item.index,
                    attempt=item.attempt,
                    code=item.code,
                    reason=item.reason,
                    type=item.type,
                    pause_ms=item.pause_ms,
                    alone=item.alone,
                    request_id=item.request_id,
                    uncharged=item.uncharged,
                )
                for item in rejections
            )
        case Renew(load):
            proto.renew.SetInParent()
            if load is not None:
                proto.renew.load.CopyFrom(load_to_proto(load))
        case SetWindow(window):
            proto.window.SetInParent()
            proto.window.window = window
        case Events(events):
            proto.events.CopyFrom(events_to_proto(events))
        case Hello():
            proto.hello.CopyFrom(hello_to_proto(message))
        case Leave():
            proto.leave.SetInParent()
    return proto.SerializeToString()


def decode_from_worker(data: bytes) -> FromWorker:
    """Decode a message of a worker; raises WireError."""
    proto = worker_pb2.FromWorker()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise WireError("a FromWorker message", f"{len(data)} other bytes") from error
    message: FromWorker
    match proto.WhichOneof("kind"):
        case "complete":
            message = Completions(tuple(map(_read_completion, proto.complete.completions)))
        case "reject":
            message = Rejections(
                tuple(
                    Rejection(
                        item.index,
                        item.attempt,
                        item.code,
                        item.reason,
                        item.type,
                        item.pause_ms,
                        item.alone,
                        item.request_id,
                        item.uncharged,
                    )
                    for item in proto.reject.rejections
                )
            )
        case "renew":
            message = Renew(
                load_from_proto(proto.renew.load) if proto.renew.HasField("load") else None
            )
        case "window":
            message = SetWindow(proto.window.window)
        case "events":
            message = events_from_proto(proto.events)
        case "hello":
            message = hello_from_proto(proto.hello)
        case "leave":
            message = Leave()
        case _:
            raise WireError(
                "one of hello, complete, reject, renew, window, events, leave",
                "a message without any",
            )
    return message


def encode_to_worker(message: ToWorker) -> bytes:
    """Encode a message of the queue service."""
    proto = worker_pb2.ToWorker()
    match message:
        case Deliveries(deliveries):
            proto.deliver.deliveries.extend(map(delivery_to_proto, deliveries))
        case Outcomes(outcomes):
            proto.outcome.outcomes.extend(
                worker_pb2.Outcome(
                    index=item.index, attempt=item.attempt, accepted=item.accepted, code=item.code
                )
                for item in outcomes
            )
        case Taken(deliveries):
            proto.taken.deliveries.extend(held_to_proto(deliveries))
        case EventsNoted(noted):
            proto.noted.CopyFrom(noted_to_proto(noted))
        case Stops(stops):
            proto.stop.stops.extend(held_to_proto(stops))
        case Welcome():
            proto.welcome.CopyFrom(welcome_to_proto(message))
        case Leave():
            proto.leave.SetInParent()
    return proto.SerializeToString()


def decode_to_worker(data: bytes) -> ToWorker:
    """Decode a message of the queue service; raises WireError."""
    proto = worker_pb2.ToWorker()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise WireError("a ToWorker message", f"{len(data)} other bytes") from error
    message: ToWorker
    match proto.WhichOneof("kind"):
        case "deliver":
            message = Deliveries(tuple(map(delivery_from_proto, proto.deliver.deliveries)))
        case "outcome":
            message = Outcomes(
                tuple(
                    Outcome(item.index, item.attempt, item.accepted, item.code)
                    for item in proto.outcome.outcomes
                )
            )
        case "taken":
            message = Taken(held_from_proto(proto.taken.deliveries))
        case "noted":
            message = noted_from_proto(proto.noted)
        case "stop":
            message = Stops(held_from_proto(proto.stop.stops))
        case "welcome":
            message = welcome_from_proto(proto.welcome)
        case "leave":
            message = Leave()
        case _:
            raise WireError(
                "one of welcome, deliver, outcome, noted, stop, taken, leave",
                "a message without any",
            )
    return message


def _add_completion(proto: worker_pb2.Completions, completion: Completion) -> None:
    item = proto.completions.add()
    item.index = completion.index
    item.attempt = completion.attempt
    item.prompt_tokens = completion.prompt_tokens
    item.completion_tokens = completion.completion_tokens
    if completion.result is not None:
        # SetInParent: an empty result without tags is still a result.
        item.result.SetInParent()
        item.result.data = completion.result.data
        item.result.tags.update(completion.result.tags)
        item.result.file = completion.result.file
    if completion.failed is not None:
        item.failed.SetInParent()
        item.failed.code = completion.failed.code
        item.failed.reason = completion.failed.reason
        item.failed.type = completion.failed.type


def _read_completion(item: worker_pb2.Completion) -> Completion:
    result = None
    if item.HasField("result"):
        result = Result(item.result.data, dict(item.result.tags), item.result.file)
    failed = None
    if item.HasField("failed"):
        failed = Failure(item.failed.code, item.failed.reason, item.failed.type)
    return Completion(
        item.index,
        item.attempt,
        result,
        failed,
        prompt_tokens=item.prompt_tokens,
        completion_tokens=item.completion_tokens,
    )
