"""What a process takes of its machine, as far as the machine tells without being asked twice.

Nothing here imports a model's library: GPU numbers come from torch when the process has loaded
it already, and the utilisation from pynvml when that is installed.
"""

import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import Any

_HAS_PYNVML = importlib.util.find_spec("pynvml") is not None


@dataclass(frozen=True, slots=True)
class Vitals:
    """What one process takes; a number that cannot be told is 0.

    memory_bytes: resident.  gpu_memory_bytes, gpu_memory_total_bytes: taken, by whomever, of the
    devices that the process sees, and all there is of them.  gpu_utilization: of the first of
    them, from 0 to 1.
    """

    memory_bytes: int = 0
    gpu_memory_bytes: int = 0
    gpu_memory_total_bytes: int = 0
    gpu_utilization: float = 0.0


def measure() -> Vitals:
    """Measure this process; any thread may ask."""
    used, total, utilization = _gpu()
    return Vitals(memory_bytes(), used, total, utilization)


def memory_bytes(pid: int | None = None) -> int:
    """Return the resident memory of a process, by default this one; 0 when it cannot be told."""
    try:
        with open(f"/proc/{pid or 'self'}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        # Not Linux, where nothing short of another package tells it.
        return 0


def _gpu() -> tuple[int, int, float]:
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    try:
        # Asking a device that nobody uses yet would make a context on it.
        if cuda is None or not cuda.is_initialized():
            return 0, 0, 0.0
        free, total = map(
            sum, zip(*(cuda.mem_get_info(n) for n in range(cuda.device_count())), strict=True)
        )
    except Exception:
        # A lost device raises whatever it likes, and it is not for these numbers to tell of it.
        return 0, 0, 0.0
    return total - free, total, _gpu_utilization(cuda)


def _gpu_utilization(cuda: Any) -> float:
    if not _HAS_PYNVML:
        return 0.0
    try:
        return float(cuda.utilization()) / 100
    except Exception:
        # The driver may not tell it, as in a part of a device.
        return 0.0
