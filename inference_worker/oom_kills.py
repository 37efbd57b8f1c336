"""How many processes the kernel's OOM killer has killed, in our control group or on the machine.

Such a process ends by SIGKILL, like one that a user killed; only the kernel's counters tell the
difference.
"""

import re
from pathlib import Path

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills(root: Path = Path("/")) -> int:
    """Return the sum of all readable counters; 0 if there are none.

    Counters of control groups cover one container.  The machine's counter covers all processes, so
    it is read only if no control group has a counter.
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
