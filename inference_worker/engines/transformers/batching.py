"""Computes similar jobs together in one thread.

There is no waiting time: the thread takes all jobs that arrived while it was busy.  So a single job
starts at once, and many jobs form large batches.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from inference_worker.engines.locate import last_line

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Item(Generic[T, R]):
    value: T
    weight: int
    result: "Future[R]"


class BatchThread(Generic[T, R]):
    """Calls `compute` with lists of values, whose weights add up to at most `most`.

    compute: returns a result or an exception for each value.  If it raises, each value of the batch
    is computed alone, so that only the bad one fails.
    """

    def __init__(self, compute: Callable[[list[T]], list[R | Exception]], *, most: int) -> None:
        self._compute = compute
        self._most = most
        self._items: deque[_Item[T, R]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    async def result(self, value: T, *, weight: int = 1) -> R:
        """Return the result for this value; cancel the call to drop a value that waits."""
        item: _Item[T, R] = _Item(value, weight, Future())
        with self._wake:
            self._items.append(item)
            self._wake.notify()
        return await asyncio.wrap_future(item.result)

    def stop(self) -> None:
        """End after the current batch; waiting values are cancelled."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def _run(self) -> None:
        while batch := self._next():
            for item, result in zip(batch, self._results(batch), strict=True):
                if isinstance(result, Exception):
                    item.result.set_exception(result)
                else:
                    item.result.set_result(result)

    def _next(self) -> list[_Item[T, R]]:
        """Wait for values and return as many as fit; an empty list after `stop`."""
        batch: list[_Item[T, R]] = []
        with self._wake:
            while not batch:
                self._wake.wait_for(lambda: self._items or self._stopping)
                if self._stopping:
                    for item in self._items:
                        item.result.cancel()
                    return []
                weight = 0
                while self._items:
                    weight += self._items[0].weight
                    if batch and weight > self._most:
                        break
                    item = self._items.popleft()
                    if item.result.set_running_or_notify_cancel():
                        batch.append(item)
        return batch

    def _results(self, batch: list[_Item[T, R]]) -> list[R | Exception]:
        # Catch everything: if this thread ended, no job would be computed any more.  A panic in a
        # Rust library is a BaseException.
        try:
            results = self._compute([item.value for item in batch])
            if len(results) != len(batch):
                raise ValueError(f"expected {len(batch)} results, got {len(results)}")
            return results
        except BaseException as error:
            if len(batch) == 1:
                return [error if isinstance(error, Exception) else RuntimeError(last_line(error))]
        return [self._results([item])[0] for item in batch]
