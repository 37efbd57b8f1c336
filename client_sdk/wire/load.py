"""The load that a worker reports, and the state of its GPUs."""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum

from client_sdk.wire.proto import worker_pb2

#: The most characters of a reason that the queue service keeps.
MAX_REASON_LENGTH = 1000
#: The most characters of a state that are read, and the longest time to load, in seconds: a day.
MAX_STATE_LENGTH = 64
MAX_LOAD_S = 86_400.0
#: More than a measurement can be wrong.
MAX_CPU_PERCENT = 1000.0


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
    """Decode the load; a number that cannot be is unknown.

    A job may have taken over its worker.  What it says must not disturb what is computed from it,
    such as the mean of all workers.
    """
    cpu_percent = proto.cpu_percent if proto.HasField("cpu_percent") else None
    return Load(
        running=proto.running,
        waiting=proto.waiting,
        limit=proto.limit,
        memory_bytes=proto.memory_bytes,
        gpu_memory_bytes=proto.gpu_memory_bytes,
        gpu_memory_total_bytes=proto.gpu_memory_total_bytes,
        gpu_utilization=_known(proto.gpu_utilization, most=1.0),
        load_s=_known(proto.load_s, most=MAX_LOAD_S),
        state=proto.state[:MAX_STATE_LENGTH],
        cpu_percent=None if cpu_percent is None else _known(cpu_percent, most=MAX_CPU_PERCENT),
        gpu_state=proto.gpu_state,
        gpu_reason=proto.gpu_reason,
    )


def _known(number: float, *, most: float) -> float:
    """Return the number, at most `most`; 0 for one that is negative or not finite."""
    return min(number, most) if math.isfinite(number) and number > 0 else 0.0
