"""Carries the locks of GPUs into a process that multiprocessing spawns."""

import os
from multiprocessing.reduction import DupFd
from typing import Any

from inference_worker.gpu.claim import held_fds


class InheritedLocks:
    """The locks of this process; pickled into a spawned one, which then holds them too.

    They are not inheritable there: programs that a model starts do not hold them.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {"fds": [DupFd(fd) for fd in held_fds()]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for one in state["fds"]:
            os.set_inheritable(one.detach(), False)
