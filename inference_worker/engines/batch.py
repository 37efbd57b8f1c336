"""Collects jobs and computes them together.

The first job of a batch waits until the batch is full or a time-out ends.  It does not wait if no
other job can arrive, because the engine's whole capacity is already here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Collects items and computes them in batches, `concurrency` batches at once.

    compute: computes one batch; must not raise.  size: the most items of one batch.
    timeout_s: how long the first item of a batch waits for others.
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
        """Add an item."""
        self._waiting.append(item)
        self._begin()

    def discard(self, item: T) -> asyncio.Task[None] | None:
        """Remove a waiting item; if its batch is already running, return the batch's task."""
        if item in self._waiting:
            self._waiting.remove(item)
            return None
        return next((task for task, batch in self._batches.items() if item in batch), None)

    def items_of(self, task: asyncio.Task[None]) -> list[T]:
        """Return the items of this task's batch."""
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
