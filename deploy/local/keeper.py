"""Keep one child process alive: when it ends, start it again, with longer and longer pauses.

A child that exits with an error soon after its first start has a wrong setting, and would exit
again.  In this case the keeper gives up, and reports the last lines of the child.

A worker that was asked to leave, or has had no job for long, exits with 0 and is not started again.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from client_sdk.respawn import Respawn
from deploy.errors import ChildFailed, DeployError
from deploy.local.child import Child

#: Seconds that each process has after a second Ctrl-C.
HURRIED_GRACE_S = 2.0

#: Seconds that a worker has beyond its grace: it returns its jobs when the grace is over.
WORKER_SLACK_S = 5.0

#: When an ended child is started again.
RESPAWN = Respawn(first_s=0.5, longest_s=10.0)


class Keeper:
    """One child that runs until `stop`.

    on_event: receives a message for the log whenever the child has ended.
    grace_s: seconds that a stopping child has before it is killed.
    may_leave: whether a child that exits with 0 has left on purpose, and is not started again.
    """

    def __init__(
        self,
        name: str,
        start_child: Callable[[], Awaitable[Child]],
        *,
        on_event: Callable[[str], None],
        grace_s: float,
        may_leave: bool = False,
    ) -> None:
        self.name = name
        self.has_left = False
        self.restarts = 0
        self.child: Child | None = None
        self._start_child = start_child
        self._on_event = on_event
        self._grace_s = grace_s
        self._may_leave = may_leave
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> Child:
        """Start the child, and keep it alive from now on."""
        self.child = await self._start_child()
        self._task = asyncio.create_task(self._keep(self.child), name=f"keep-{self.name}")
        return self.child

    async def failure(self) -> None:
        """Wait until the keeper has given up, and raise why; return if the child has left."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Stop the child; does nothing when there is none."""
        self._stopping = True
        if self._task is not None:
            # If this cancels a start, the start kills its child.
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self.child is not None:
            await self.child.stop(grace_s=self._grace_s)

    def hurry(self, *, grace_s: float) -> None:
        """Shorten the grace of the current or the next `stop` to `grace_s`.

        A child that is already stopping gets a second SIGTERM: a worker then gives its jobs back
        instead of finishing them.
        """
        self._grace_s = min(self._grace_s, grace_s)
        if self._stopping and self.child is not None:
            self.child.send(signal.SIGTERM)
            asyncio.get_running_loop().call_later(grace_s, self.child.send_kill)

    async def _keep(self, child: Child) -> None:
        ends = 0
        while True:
            born = time.monotonic()
            code = await child.wait()
            if code == 0 and self._may_leave:
                self.has_left = True
                self._on_event("exited with 0; not restarted")
                return
            lived_s = time.monotonic() - born
            if code > 0 and not RESPAWN.did_well(lived_s) and not self.restarts:
                raise ChildFailed(self.name, ended(code), list(child.last_lines))
            ends = RESPAWN.ends_in_row(ends, lived_s=lived_s)
            child = await self._start_again(ended(code), ends)

    async def _start_again(self, what: str, ends: int) -> Child:
        while True:
            pause = RESPAWN.pause_s(ends)
            self._on_event(f"{what}; starting again in {pause:g} s")
            await asyncio.sleep(pause)
            try:
                self.child = await self._start_child()
            except DeployError as error:
                what, ends = str(error), ends + 1
                continue
            self.restarts += 1
            return self.child


def ended(code: int) -> str:
    """Describe how a process ended."""
    return f"killed by signal {-code}" if code < 0 else f"ended with {code}"
