"""The memory and GPU use of a process.

Nothing here imports a model's library: GPU numbers come from torch if the process has already
imported it, and the utilization from pynvml if it is installed.
"""

import importlib.util
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

_HAS_PYNVML = importlib.util.find_spec("pynvml") is not None


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """The resource use of one process; unknown numbers are 0.

    memory_bytes: resident.  gpu_memory_bytes: used memory of the visible devices, by any process.
    gpu_memory_total_bytes: their total memory.  gpu_utilization: of the first device, from 0 to 1.
    gpu_cached_bytes: of them, what torch keeps for later although nothing uses it.
    """

    memory_bytes: int = 0
    gpu_memory_bytes: int = 0
    gpu_memory_total_bytes: int = 0
    gpu_utilization: float = 0.0
    gpu_cached_bytes: int = 0


def measure() -> ResourceUsage:
    """Measure this process, from any thread."""
    return ResourceUsage(memory_bytes(), *_gpu())


def memory_bytes(pid: int | None = None) -> int:
    """Return the resident memory of a process, by default this one; 0 if it is unknown."""
    try:
        with open(f"/proc/{pid or 'self'}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        # Not Linux; elsewhere this would need another package.
        return 0


def process_age_s() -> float:
    """Return how long ago this process started, in seconds; 0 if that is unknown."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
            # The name of the program, in parentheses, may contain spaces.
            started_ticks = int(stat.read().rpartition(")")[2].split()[19])
        up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(0.0, up_s - started_ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, IndexError, ValueError):
        # Not Linux.
        return 0.0


def _gpu() -> tuple[int, int, float, int]:
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    try:
        # A query to an unused device would create a context on it, which takes memory.
        if cuda is None or not cuda.is_initialized():
            return 0, 0, 0.0, 0
        free, total = map(
            sum, zip(*(cuda.mem_get_info(n) for n in range(cuda.device_count())), strict=True)
        )
        cached = sum(
            cuda.memory_reserved(n) - cuda.memory_allocated(n) for n in range(cuda.device_count())
        )
    except Exception:
        # A lost device raises any kind of error; the failing jobs report it, not these numbers.
        return 0, 0, 0.0, 0
    return total - free, total, _gpu_utilization(cuda), cached


def _gpu_utilization(cuda: Any) -> float:
    if not _HAS_PYNVML:
        return 0.0
    try:
        return float(cuda.utilization()) / 100
    except Exception:
        # The driver may not know it, for example for a MIG slice.
        return 0.0
