"""The names of the GPUs that a worker may use, for operators.

NVIDIA's driver for Linux lists them in /proc, so this needs no process and no library.  Without
that folder there are no names.
"""

import os
from collections import Counter
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")


def gpu_names(folder: Path = DRIVER, visible: str | None = None) -> str:
    """Return the names, such as `2 x NVIDIA H100`; "" if there are none.

    visible: a list in the format of CUDA_VISIBLE_DEVICES, which is the default.
    """
    counts = Counter(about.get("Model", "") for about in _visible(folder, visible))
    counts.pop("", None)
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())


def gpu_count(folder: Path = DRIVER, visible: str | None = None) -> int:
    """Return how many there are, as `gpu_names` lists them."""
    return len(_visible(folder, visible))


def _visible(folder: Path, visible: str | None) -> list[dict[str, str]]:
    if visible is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [about for about in map(_read, sorted(folder.glob("*/information"))) if about]
    if visible is not None:
        names = _chosen(names, [part.strip() for part in visible.split(",")])
    return names


def _chosen(names: list[dict[str, str]], wanted: list[str]) -> list[dict[str, str]]:
    chosen = []
    for part in wanted:
        if part.isascii() and part.isdigit():
            chosen += names[int(part) : int(part) + 1] if len(part) < 5 else []
        else:
            chosen += [one for one in names if part and one.get("GPU UUID", "").startswith(part)]
    return chosen


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
