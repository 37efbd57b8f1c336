"""Jobs that wait to be computed together.

The first to come waits for others until there are enough of them, or for its time; when nobody
else can come, because all that the engine takes are here, nobody waits.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Gathers items and has them computed, `concurrency` batches at once.

    compute: computes one batch; never raises.  size: most items of one batch.
    timeout_s: how long the first of a batch waits for others.
    """

    def __init__(
        self,
        compute: Callable[[list[T]], Awaitable[None]],
        *,
        size: int,
        timeout_s: float,
        concurrency: int,
    ) -> None:
        self._compute = compute
        self._size = size
        self._timeout_s = timeout_s
        self._free = concurrency
        self._capacity = size * concurrency
        self._computing = 0
        self._waiting: list[T] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False
        self._batches: dict[asyncio.Task[None], list[T]] = {}

    def add(self, item: T) -> None:
        """Put one in."""
        self._waiting.append(item)
        self._begin()

    def discard(self, item: T) -> asyncio.Task[None] | None:
        """Take one out that nobody wants; return the task of its batch when that runs already."""
        if item in self._waiting:
            self._waiting.remove(item)
            return None
        return next((task for task, batch in self._batches.items() if item in batch), None)

    def items_of(self, task: asyncio.Task[None]) -> list[T]:
        """Return what is computed by this task."""
        return self._batches.get(task, [])

    def _begin(self) -> None:
        while self._waiting and self._free:
            is_full = len(self._waiting) >= self._size
            is_all = len(self._waiting) + self._computing >= self._capacity
            if not (is_full or is_all or self._is_due):
                if self._timer is None:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(self._timeout_s, self._due)
                return
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            self._stop_waiting()
            self._free -= 1
            self._computing += len(batch)
            task = asyncio.create_task(self._compute_one(batch))
            self._batches[task] = batch
            task.add_done_callback(self._ended)

    async def _compute_one(self, batch: list[T]) -> None:
        await self._compute(batch)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._computing -= len(self._batches.pop(task))
        self._free += 1
        if not asyncio.get_running_loop().is_closed():
            self._begin()

    def _due(self) -> None:
        self._timer, self._is_due = None, True
        self._begin()
        self._is_due = bool(self._waiting)

    def _stop_waiting(self) -> None:
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
