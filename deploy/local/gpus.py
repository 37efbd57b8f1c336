"""The GPUs of the services that local mode runs.

Each worker takes its own, by a lock (inference_worker/gpu).  What is here tells it how many, and
refuses a change that needs more GPUs than are free, because its workers would wait.
"""

import os
import socket
import time
from collections.abc import Collection, Sequence

from deploy.errors import GpusRefused
from deploy.local.wish import Wish, WorkerGpus
from inference_worker.errors import WorkerError
from inference_worker.gpu.claim import LOOK_AGAIN_S, Wanted, awaited, count_of
from inference_worker.gpu.devices import Gpu, choose, list_gpus, visible_names
from inference_worker.gpu.locks import DEFAULT_FOLDER, Claim, Held, Holder, LockFolder, Looking

#: How long to wait for another process that looks at the locks, in seconds.
LOOKING_S = 5.0


def has_gpus() -> bool:
    """Say whether this machine has a GPU, or a driver that cannot tell."""
    try:
        list_gpus()
    except WorkerError as error:
        return bool(getattr(error, "has_driver", True))
    return True


def gpu_settings(gpus: WorkerGpus) -> dict[str, str]:
    """Return the settings with which a worker takes its GPUs; none where there are no GPUs."""
    return gpus.environment() if has_gpus() else {}


def check_free(wish: Wish, *, own_pids: Collection[int]) -> None:
    """Raise GpusRefused if the instances of a service need more GPUs than are free.

    own_pids: of its running workers, which keep their GPUs or give them back first.
    """
    if not wish.gpus.count or not wish.instances or wish.stopped:
        return
    try:
        gpus: Sequence[Gpu] = list_gpus()
        names = visible_names(wish.gpus.visible or os.environ.get("CUDA_VISIBLE_DEVICES"))
        if names is not None:
            gpus = choose(gpus, names)
        count_of(Wanted(wish.gpus.count), gpus)
        held = _first_refusal(wish, gpus, own_pids)
    except WorkerError as error:
        if not getattr(error, "has_driver", True):
            # As on a machine without a GPU before: it runs on the processor.
            return
        raise GpusRefused(str(error)) from None
    if held is not None:
        what = awaited(wish.gpus.count, gpus, held)
        raise GpusRefused(f"GPUs: an instance of {wish.name} would wait for {what}")


def _first_refusal(wish: Wish, gpus: Sequence[Gpu], own_pids: Collection[int]) -> Held | None:
    """Take what the missing instances need, and give it back; return why that is not possible."""
    here = socket.gethostname()
    claims: list[Claim] = []
    folder = LockFolder(os.environ.get("PENSTOCK_WORKER_GPU_DIR") or DEFAULT_FOLDER)
    try:
        own = {one.pid for _, one in _holders(folder, gpus) if one.host == here}
        for _ in range(wish.instances - len(own & set(own_pids))):
            got = _take(folder, gpus, wish)
            if isinstance(got, Held):
                return got
            if isinstance(got, Claim):
                claims.append(got)
    finally:
        for claim in claims:
            claim.close()
        folder.close()
    return None


def _take(folder: LockFolder, gpus: Sequence[Gpu], wish: Wish) -> Claim | Held | Looking:
    holder = Holder("another instance", wish.name, socket.gethostname(), os.getpid())
    until = time.monotonic() + LOOKING_S
    while True:
        got = folder.take(gpus, count=wish.gpus.count, shares=wish.gpus.shares, holder=holder)
        if not isinstance(got, Looking) or time.monotonic() > until:
            return got
        time.sleep(LOOK_AGAIN_S)


def _holders(folder: LockFolder, gpus: Sequence[Gpu]) -> tuple[tuple[Gpu, Holder], ...]:
    until = time.monotonic() + LOOKING_S
    while isinstance(found := folder.holders(gpus), Looking):
        if time.monotonic() > until:
            return ()
        time.sleep(LOOK_AGAIN_S)
    return found
