"""Ends a worker that has had nothing to do for a while, for schedulers that never stop workers."""

import asyncio
from collections.abc import Callable


class IdleExit:
    """Calls `leave` once the worker has been idle for `after_s`; 0 means never.

    is_idle: whether it could run a job and has none.  A worker that cannot, because its engine is
    down or the queue service is unreachable, is not idle: jobs may wait for it.
    """

    def __init__(
        self, after_s: float, is_idle: Callable[[], bool], leave: Callable[[], None]
    ) -> None:
        self.after_s = after_s
        self._is_idle = is_idle
        self._leave = leave
        self._since = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to count."""
        if self.after_s:
            self._task = asyncio.create_task(self._wait(), name="idle exit")

    def stop(self) -> None:
        """Stop counting."""
        if self._task is not None:
            self._task.cancel()

    def note_job(self) -> None:
        """Note that a job has begun or ended."""
        if self.after_s:
            self._since = asyncio.get_running_loop().time()

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        while (left_s := self._since + self.after_s - loop.time()) > 0:
            await asyncio.sleep(left_s)
            if not self._is_idle():
                self._since = loop.time()
        self._leave()
