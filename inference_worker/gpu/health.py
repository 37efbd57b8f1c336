"""The health of a worker's GPUs: from readings to a state.  Pure.

    healthy ── any look fails ──> suspect ── a complete look fails ──> quarantined
       ^                            │                                     │
       ├── a complete look succeeds ┘                                     │
       └──────── a complete look succeeds, and a new engine runs ─────────┘

A suspect worker still accepts jobs.  A complete look starts CUDA and NVML from the beginning; the
quick one between two jobs asks NVML only.  An Xid error that a program does not cause is a failed
complete look by itself: the driver has reported a fault of the GPU.
"""

from dataclasses import dataclass, replace

from client_sdk.wire.load import GpuState
from inference_worker.gpu.reading import Cause, Reading

#: Xid errors that a job's own program causes, or that report a repair.  The engine fails then, and
#: that is enough: the GPU works.
HARMLESS_XIDS = frozenset({13, 31, 43, 45, 63, 68, 69, 92, 94, 109})

#: How much more memory than right after loading the engine may use between two jobs: the larger of
#: this many bytes and this share of all memory.  Libraries allocate workspaces at their first use.
SLACK_BYTES = 1 << 30
SLACK_SHARE = 0.1

#: A suspect worker whose free memory is below this share of all memory is quarantined before its
#: jobs run out of memory; a new engine frees it.
LEAST_FREE_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the GPUs.

    baseline_bytes: used memory right after the engine has loaded; 0 while it is not known, or if
    others use the GPUs too.
    """

    state: GpuState = GpuState.HEALTHY
    cause: Cause = Cause.NONE
    reason: str = ""
    baseline_bytes: int = 0

    @property
    def is_quarantined(self) -> bool:
        """True while the worker accepts no jobs."""
        return self.state is GpuState.QUARANTINED


def after(health: Health, reading: Reading, *, idle: bool = False, cached_bytes: int = 0) -> Health:
    """Return the health after this reading.

    idle: no job runs, so that memory should be back at its baseline.  cached_bytes: memory that the
    engine keeps for its next job although nothing uses it.
    """
    cause, reason = fault_of(health, reading, idle=idle, cached_bytes=cached_bytes)
    if cause is Cause.NONE:
        return _after_success(health, reading, idle=idle)
    is_certain = health.is_quarantined or cause is Cause.XID or reading.complete
    if cause is Cause.MEMORY:
        is_certain = health.is_quarantined or free_share(reading) < LEAST_FREE_SHARE
    state = GpuState.QUARANTINED if is_certain else GpuState.SUSPECT
    return replace(health, state=state, cause=cause, reason=reason)


def _after_success(health: Health, reading: Reading, *, idle: bool) -> Health:
    match health:
        case Health(GpuState.SUSPECT, Cause.MEMORY):
            # While a job runs, its memory tells nothing.
            return healthy(health) if idle else health
        case Health(GpuState.SUSPECT):
            # A quick look cannot have seen what a complete one looks at.
            return healthy(health) if reading.complete else health
        case _:
            # Healthy stays so.  What is quarantined also needs a new engine.
            return health


def healthy(health: Health) -> Health:
    """Return the health of GPUs that work again."""
    return Health(baseline_bytes=health.baseline_bytes)


def fault_of(
    health: Health, reading: Reading, *, idle: bool, cached_bytes: int = 0
) -> tuple[Cause, str]:
    """Return what a reading shows to be wrong, and why."""
    if reading.cause is not Cause.NONE:
        return reading.cause, reading.fault
    if serious := [xid for xid in reading.xids if xid not in HARMLESS_XIDS]:
        numbers = ", ".join(map(str, dict.fromkeys(serious)))
        return Cause.XID, f"the driver has reported Xid {numbers}"
    used, allowed = reading.used_bytes - cached_bytes, allowed_bytes(health, reading)
    if idle and health.baseline_bytes and used > allowed:
        return Cause.MEMORY, (
            f"{used >> 20} MiB of GPU memory are in use although no job runs, expected "
            f"{health.baseline_bytes >> 20} MiB as after loading"
        )
    return Cause.NONE, ""


def allowed_bytes(health: Health, reading: Reading) -> int:
    """Return how much memory may be in use between two jobs."""
    return health.baseline_bytes + max(SLACK_BYTES, int(reading.total_bytes * SLACK_SHARE))


def free_share(reading: Reading) -> float:
    """Return the share of all memory that is free; 1 if it is not known."""
    if not reading.total_bytes:
        return 1.0
    return max(0.0, 1 - reading.used_bytes / reading.total_bytes)


def wants_complete_look(health: Health) -> bool:
    """Return whether only a complete look tells whether the GPUs work."""
    return health.state is GpuState.SUSPECT and health.cause is not Cause.MEMORY
