"""A worker claims its GPUs before it loads anything, and holds them until its process has ended.

    listed ── enough are free ──> claimed ── the process ends, however ──> free again
       └── all are held: waits, and says who holds them

The claim is of the process, like its environment.  The engine's process (inherited.py) and the
warden of a server that the engine starts hold the locks too, so that what survives a killed worker
keeps its GPUs.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference_worker.errors import NoGpus
from inference_worker.gpu.devices import Gpu, choose, list_gpus, visible_names
from inference_worker.gpu.locks import (
    DEFAULT_FOLDER,
    Claim,
    Held,
    Holder,
    LockFolder,
)

#: How often a worker that waits for a GPU tries again, in seconds.  The kernel reports the release
#: of a lock only to a process that blocks on that lock, and a worker waits for any of several.
TRY_EVERY_S = 1.0
#: The same while another process looks at the locks, which takes milliseconds.
LOOK_AGAIN_S = 0.02

#: Looking at the locks takes milliseconds, so the other process hangs.
_BLOCKED = "the worker waits for another process, which looks at the locks of the GPUs (table.lock)"

#: The most holders in one message.
_MOST_NAMED = 16

log = logging.getLogger(__name__)

_held: list[Claim] = []


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a worker wants: `count` GPUs, None for all; `shares` workers may have one GPU."""

    count: int | None
    shares: int = 1
    folder: str = DEFAULT_FOLDER


def held_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process has claimed."""
    return tuple(gpu for claim in _held for gpu in claim.gpus)


def held_fds() -> tuple[int, ...]:
    """Return the locked files, for processes that use the GPUs too."""
    return tuple(fd for claim in _held for fd in claim.fds)


def count_of(wanted: Wanted, gpus: Sequence[Gpu]) -> int:
    """Return how many of these GPUs are wanted; raises NoGpus if that can never be had."""
    count = len(gpus) if wanted.count is None else wanted.count
    named = ", ".join(map(str, gpus)) or "none: CUDA_VISIBLE_DEVICES hides all"
    if not gpus or count > len(gpus):
        raise NoGpus(f"expected {count or 'some'}, got {len(gpus)}: {named}")
    slices = sum(gpu.slice_index is not None for gpu in gpus)
    if count > len(gpus) - slices and count > 1:
        raise NoGpus(f"expected 1, because a process can use only one MIG slice, got {count}")
    return count


def awaited(count: int, gpus: Sequence[Gpu], held: Held) -> str:
    """Return what a worker waits for and who has it, for people."""
    many = "a free GPU" if count == 1 else f"{count} free GPUs"
    by = [f"GPU {gpu.place} is held by {holder}" for gpu, holder in held.holders]
    more = len(by) - _MOST_NAMED
    rest = f", and {more} more" if more > 0 else ""
    return f"{many} of {len(gpus)}: {', '.join(by[:_MOST_NAMED])}{rest}"


async def visible_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use; raises NoGpus."""
    gpus = await asyncio.to_thread(list_gpus)
    names = visible_names(os.environ.get("CUDA_VISIBLE_DEVICES"))
    return gpus if names is None else choose(gpus, names)


async def claim_gpus(
    wanted: Wanted, holder: Holder, *, report: Callable[[str], None]
) -> tuple[Gpu, ...]:
    """Claim GPUs, wait until enough are free, and let this process and its children see no others.

    report: called with the reason whenever the worker has to wait, and whenever the reason changes.
    Raises NoGpus, or BadGpuFolder.
    """
    _warn_if_alone(wanted.folder)
    gpus = await visible_gpus()
    count = count_of(wanted, gpus)
    folder = LockFolder(wanted.folder)
    reported, pause_s = "", LOOK_AGAIN_S
    try:
        while True:
            got = folder.take(gpus, count=count, shares=wanted.shares, holder=holder)
            if isinstance(got, Claim):
                break
            reason = _BLOCKED
            if isinstance(got, Held):
                reason = f"the worker waits for {awaited(count, gpus, got)}"
                pause_s = TRY_EVERY_S
            if reason != reported and pause_s >= TRY_EVERY_S:
                reported = reason
                report(reason)
            await asyncio.sleep(pause_s)
            # Again the short one: the next look may find the locks free.
            pause_s = LOOK_AGAIN_S if isinstance(got, Held) else min(2 * pause_s, TRY_EVERY_S)
    finally:
        folder.close()
    _held.append(got)
    # CUDA counts the fastest first, unless configured to count as nvidia-smi does.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.visible for gpu in got.gpus)
    return got.gpus


def _warn_if_alone(folder: str) -> None:
    if Path("/.dockerenv").exists() and not os.path.ismount(folder):
        log.warning(
            "%s is not a volume: workers in other containers cannot see which GPUs this one "
            "holds. Mount the same volume there in all of them.",
            folder,
        )
