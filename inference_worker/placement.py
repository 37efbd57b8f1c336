"""Takes the worker's GPUs before its engine loads, and waits until they work.

While it waits, operators see the worker and the reason.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from client_sdk.errors import QueueError
from client_sdk.wire.load import MAX_REASON_LENGTH, GpuState, Load, WorkerState
from client_sdk.work import WorkConnection
from inference_worker.engines.engine import Progress
from inference_worker.errors import NoGpus
from inference_worker.first_load import Report
from inference_worker.gpu.claim import Wanted, claim_gpus, visible_gpus
from inference_worker.gpu.locks import Holder
from inference_worker.gpu_guard import Unwatched

#: Opens a connection with a window of 0, which reports this load.
Announce = Callable[[Callable[[], Load]], WorkConnection]

log = logging.getLogger(__name__)


class Placement:
    """Takes GPUs for this process, if any are wanted, and lets the guard check them.

    announce: shows the waiting worker to operators; it accepts no jobs.
    waited_s: how long it took.
    """

    def __init__(
        self, wanted: Wanted | None, holder: Holder, announce: Announce, guard: Unwatched
    ) -> None:
        self._wanted = wanted
        self._holder = holder
        self._announce = announce
        self._guard = guard
        self._load = Load()
        self.waited_s = 0.0

    async def prepare(self, report: Report) -> None:
        """Return when the GPUs are taken and work; raises NoGpus or BadGpuFolder."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        await self._take(report)
        self.waited_s = loop.time() - began_at

    async def _take(self, report: Report) -> None:
        async with contextlib.AsyncExitStack() as announced:

            def wait(state: GpuState, reason: str) -> None:
                if not self._load.gpu_state:
                    task = asyncio.create_task(self._show(), name="waiting for a GPU")
                    announced.push_async_callback(_cancel, task)
                self._load = Load(
                    state=WorkerState.RESTING,
                    gpu_state=state,
                    gpu_reason=reason[:MAX_REASON_LENGTH],
                )
                # The worker logs it.
                report(Progress(0.0, reason))

            if self._wanted is not None:
                gpus = await claim_gpus(
                    self._wanted, self._holder, report=lambda why: wait(GpuState.WAITING, why)
                )
                log.info("The worker has %s.", ", ".join(map(str, gpus)))
            else:
                try:
                    gpus = await visible_gpus()
                except NoGpus as error:
                    log.warning("Nobody watches the GPUs of this worker. %s", error)
                    return
            await self._guard.before_loading([gpu.uuid for gpu in gpus], wait)

    async def _show(self) -> None:
        """Stay connected with a window of 0."""
        try:
            async with self._announce(lambda: self._load) as connection:
                async for _ in connection:
                    # Nothing is delivered to a window of 0.
                    pass
        except QueueError as error:
            # The worker's check and its own connection report it.
            log.debug("The waiting worker is not shown: %s", error)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
