"""The first message of each side of a worker connection: Hello and Welcome."""

from collections.abc import Iterable
from dataclasses import dataclass

from client_sdk.wire.load import Load, load_from_proto, load_to_proto
from client_sdk.wire.proto import worker_pb2
from client_sdk.wire.versions import PROTOCOL

#: The largest interface that a worker sends and a service keeps, in bytes.
MAX_INTERFACE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Held:
    """One delivery of one entry: the entry's index, and the attempt number, from 1."""

    index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Hello:
    """The worker's first message.

    uid: the name of this worker process; a reconnect with the same uid keeps its deliveries.
    window: the most deliveries that it holds at once.
    held: deliveries of an earlier connection that it still works on.
    version, engine, host, gpu, pid: for operators; host is the machine's name, gpu the GPUs' names,
    pid the process id on that machine, 0 for unknown.  gpus: how many GPUs it uses.
    leaves: whether it understands Leave.  load: as in Renew, None for unknown.
    takes_files: whether it fetches the files of a delivery.
    interface: the JSON Schemas of its inputs and results (JSON), at most MAX_INTERFACE_BYTES.
    """

    uid: str
    window: int
    held: tuple[Held, ...] = ()
    version: str = ""
    engine: str = ""
    host: str = ""
    gpu: str = ""
    pid: int = 0
    protocol: int = PROTOCOL
    leaves: bool = False
    load: Load | None = None
    takes_files: bool = False
    interface: bytes = b""
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Welcome:
    """The service's first message.

    lease_ms: after a silence of this length the lease expires; the worker renews every third of it.
    lost: deliveries in Hello that no longer belong to this worker; it should stop them.
    leaves: whether the service understands Leave.
    inline_bytes: a larger result is uploaded as a file; 0 if the service takes no files.
    log_bytes: the most bytes of the log of one attempt; 0 if the service keeps no logs.
    """

    service: str
    lease_ms: int
    lost: tuple[Held, ...] = ()
    protocol: int = PROTOCOL
    leaves: bool = False
    inline_bytes: int = 0
    log_bytes: int = 0


def hello_to_proto(hello: Hello) -> worker_pb2.Hello:
    """Convert a Hello for the wire."""
    return worker_pb2.Hello(
        protocol=hello.protocol,
        uid=hello.uid,
        window=hello.window,
        held=held_to_proto(hello.held),
        version=hello.version,
        engine=hello.engine,
        host=hello.host,
        gpu=hello.gpu,
        pid=hello.pid,
        leaves=hello.leaves,
        load=None if hello.load is None else load_to_proto(hello.load),
        takes_files=hello.takes_files,
        interface=hello.interface,
        gpus=hello.gpus,
    )


def hello_from_proto(proto: worker_pb2.Hello) -> Hello:
    """Read a Hello."""
    return Hello(
        uid=proto.uid,
        window=proto.window,
        held=held_from_proto(proto.held),
        version=proto.version,
        engine=proto.engine,
        host=proto.host,
        gpu=proto.gpu,
        pid=proto.pid,
        leaves=proto.leaves,
        protocol=proto.protocol,
        load=load_from_proto(proto.load) if proto.HasField("load") else None,
        takes_files=proto.takes_files,
        interface=proto.interface,
        gpus=proto.gpus,
    )


def welcome_to_proto(welcome: Welcome) -> worker_pb2.Welcome:
    """Convert a Welcome for the wire."""
    return worker_pb2.Welcome(
        protocol=welcome.protocol,
        service=welcome.service,
        lease_ms=welcome.lease_ms,
        lost=held_to_proto(welcome.lost),
        leaves=welcome.leaves,
        inline_bytes=welcome.inline_bytes,
        log_bytes=welcome.log_bytes,
    )


def welcome_from_proto(proto: worker_pb2.Welcome) -> Welcome:
    """Read a Welcome."""
    return Welcome(
        service=proto.service,
        lease_ms=proto.lease_ms,
        lost=held_from_proto(proto.lost),
        leaves=proto.leaves,
        protocol=proto.protocol,
        inline_bytes=proto.inline_bytes,
        log_bytes=proto.log_bytes,
    )


def held_to_proto(held: Iterable[Held]) -> list[worker_pb2.Held]:
    """Convert deliveries for the wire."""
    return [worker_pb2.Held(index=item.index, attempt=item.attempt) for item in held]


def held_from_proto(held: Iterable[worker_pb2.Held]) -> tuple[Held, ...]:
    """Read deliveries."""
    return tuple(Held(item.index, item.attempt) for item in held)
