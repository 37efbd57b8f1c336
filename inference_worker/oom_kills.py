"""How many processes the kernel has killed for want of memory: in our control group, or anywhere.

A process that was killed for this ends by SIGKILL, as it does by many other hands; only the
kernel's own counters tell the difference.
"""

import re
from pathlib import Path

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills(root: Path = Path("/")) -> int:
    """Return the sum of all counters that can be read; 0 where there is none.

    The control group's count what happened in a container.  The machine's counts for everybody, so
    it is read only where no control group counts.
    """
    groups = root / "sys/fs/cgroup"
    files = {groups / "memory.events", groups / "memory/memory.oom_control"}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            files.add(groups / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.add(groups / "memory" / path.lstrip("/") / "memory.oom_control")
    found = [int(count) for file in files for count in _COUNT.findall(_read(file))]
    return sum(found or map(int, _COUNT.findall(_read(root / "proc/vmstat"))))


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
