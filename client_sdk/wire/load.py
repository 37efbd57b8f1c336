"""The load that a worker reports, and the state of its GPUs."""

from dataclasses import asdict, dataclass
from enum import StrEnum

from client_sdk.wire.proto import worker_pb2

#: The most characters of a reason that the queue service keeps.
MAX_REASON_LENGTH = 1000


class GpuState(StrEnum):
    """The state of a worker's GPUs; "" for a worker without any, or whose GPUs nobody checks.

    waiting: other workers hold all of them.  suspect: a check failed, and jobs still run.
    quarantined: it accepts no jobs until a check succeeds.
    """

    NONE = ""
    WAITING = "waiting"
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    QUARANTINED = "quarantined"


class WorkerState(StrEnum):
    """What a connected worker does.

    READY: it accepts deliveries, or runs one alone.  RESTING: its engine is being restarted.
    DRAINING: it is leaving.  UNKNOWN: an older worker, which does not report its state.
    """

    READY = "ready"
    RESTING = "resting"
    DRAINING = "draining"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a worker is, for operators and autoscaling; unknown numbers are 0.

    running, waiting: deliveries in its engine, and waiting for it.  limit: the engine's capacity.
    memory_bytes: of all its processes.  gpu_utilization: from 0 to 1.
    load_s: from the start of the worker until it accepted deliveries.  state: see WorkerState; a
    string, because a newer worker may know more of them.  cpu_percent: of the CPUs that it may use.
    gpu_state: a GpuState, kept as text because newer workers may know more of them.  gpu_reason:
    why it is in that state, for people.
    """

    running: int = 0
    waiting: int = 0
    limit: int = 0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0
    gpu_memory_total_bytes: int = 0
    gpu_utilization: float = 0.0
    load_s: float = 0.0
    state: str = WorkerState.UNKNOWN
    cpu_percent: float | None = None
    gpu_state: str = ""
    gpu_reason: str = ""


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
        load_s=proto.load_s,
        state=proto.state,
        cpu_percent=proto.cpu_percent if proto.HasField("cpu_percent") else None,
        gpu_state=proto.gpu_state,
        gpu_reason=proto.gpu_reason,
    )
