"""The workers of `penstock worker --gpus`: one process for each GPU, each kept alive.

running ──ended──> starting again, after a pause ──> running
   ├──exited with 0──> left: the queue service asked it to leave, or it had no job for long
   └──refused its settings at its first start──> failed; the others go on
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from functools import partial

from deploy.commands.merged_log import MergedLog
from deploy.errors import ChildFailed, DeployError
from deploy.local.child import Child
from deploy.local.keeper import HURRIED_GRACE_S, WORKER_SLACK_S, Keeper

#: What starts a worker.  -P: a module in the folder must not replace one of Python's.
WORKER = (sys.executable, "-P", "-m", "inference_worker")


class SeveralWorkers:
    """Worker processes on this machine.

    environments: of each worker.  grace_s: seconds that a stopping worker has to finish its jobs.
    """

    def __init__(
        self, environments: Sequence[Mapping[str, str]], log: MergedLog, *, grace_s: float
    ) -> None:
        self._log = log
        self._keepers = [
            self._keeper(f"worker-{number}", env, grace_s)
            for number, env in enumerate(environments, start=1)
        ]

    async def serve(self) -> None:
        """Run the workers until none is left; raises the first error of those that have failed."""
        for keeper in self._keepers:
            await keeper.start()
        ends = [self._end_of(keeper) for keeper in self._keepers]
        failed = [error for error in await asyncio.gather(*ends) if error is not None]
        if failed:
            raise failed[0]

    async def stop(self) -> None:
        """Let the workers finish their jobs, all at the same time, and wait for their ends."""
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers))

    def hurry(self) -> None:
        """Make a `stop` that waits return soon."""
        for keeper in self._keepers:
            keeper.hurry(grace_s=HURRIED_GRACE_S)

    async def _end_of(self, keeper: Keeper) -> DeployError | None:
        try:
            await keeper.failure()
        except DeployError as error:
            if len(self._keepers) > 1 and isinstance(error, ChildFailed):
                self._log.line(keeper.name, f"{error.why}; not started again")
            return error
        return None

    def _keeper(self, name: str, env: Mapping[str, str], grace_s: float) -> Keeper:
        on_line = partial(self._log.line, name)

        async def start() -> Child:
            return Child.start(name, WORKER, on_line=on_line, env=env)

        return Keeper(
            name, start, on_event=on_line, grace_s=grace_s + WORKER_SLACK_S, may_leave=True
        )
