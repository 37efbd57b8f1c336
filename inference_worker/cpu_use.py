"""How much of its CPUs a worker uses, with its engine and all their children (Linux)."""

import os
import time
from pathlib import Path

#: The shortest time over which the use is measured, in seconds.
LEAST_S = 1.0
_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


class CpuUse:
    """Measures the use since it was last asked."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._cpu_s = _cpu_s_of_tree(os.getpid())
        self._percent: float | None = None

    def percent(self) -> float | None:
        """Return percent of the CPUs that this process may use; None while it is unknown."""
        elapsed_s = time.monotonic() - self._at
        if elapsed_s >= LEAST_S:
            before_s, self._cpu_s = self._cpu_s, _cpu_s_of_tree(os.getpid())
            self._at += elapsed_s
            if self._cpu_s:
                # The time of a child that has ended is gone from the sum.
                used_s = max(0.0, self._cpu_s - before_s)
                self._percent = min(100.0, 100 * used_s / (elapsed_s * available_cpus()))
        return self._percent


def available_cpus(limit: Path = _CGROUP_LIMIT) -> float:
    """Return how many CPUs this process may use: its affinity, or less in a container."""
    try:
        cpus = float(len(os.sched_getaffinity(0)))
    except AttributeError:
        cpus = float(os.cpu_count() or 1)
    try:
        quota, period = limit.read_text(encoding="ascii").split()
        return min(cpus, int(quota) / int(period))
    except (OSError, ValueError):
        # No cgroup of version 2, or no limit in it ("max").
        return cpus


def _cpu_s_of_tree(pid: int) -> float:
    """Return the CPU time of a process and its descendants that run; 0 if it is unknown."""
    folder = Path(f"/proc/{pid}")
    try:
        # The name of the program, in parentheses, may contain spaces.
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        children = [
            int(child)
            for listed in (folder / "task").glob("*/children")
            for child in listed.read_text(encoding="ascii").split()
        ]
    except (OSError, ValueError, IndexError):
        # It has ended meanwhile, or this is not Linux.
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(_cpu_s_of_tree, children))
