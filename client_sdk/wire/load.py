"""The load that a worker reports."""

from dataclasses import asdict, dataclass

from client_sdk.wire.proto import worker_pb2


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a worker is, for operators; unknown numbers are 0.

    running, waiting: deliveries in its engine, and waiting for it.  limit: the engine's capacity.
    memory_bytes: of all its processes.  gpu_utilization: from 0 to 1.
    """

    running: int = 0
    waiting: int = 0
    limit: int = 0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0
    gpu_memory_total_bytes: int = 0
    gpu_utilization: float = 0.0


def load_to_proto(load: Load) -> worker_pb2.Load:
    """Encode the load."""
    return worker_pb2.Load(**asdict(load))


def load_from_proto(proto: worker_pb2.Load) -> Load:
    """Decode the load."""
    return Load(
        running=proto.running,
        waiting=proto.waiting,
        limit=proto.limit,
        memory_bytes=proto.memory_bytes,
        gpu_memory_bytes=proto.gpu_memory_bytes,
        gpu_memory_total_bytes=proto.gpu_memory_total_bytes,
        gpu_utilization=proto.gpu_utilization,
    )
