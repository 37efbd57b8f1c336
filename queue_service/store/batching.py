"""Many callers of one verb become one call of its script.

What is asked for in one turn of the event loop goes out together; while a call is under way
the next one gathers, so that batches grow with the load and an idle service waits for nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Batcher(Generic[Item, Outcome]):
    """Gathers items and sends them together.

    send: takes the items, returns one outcome for each, in their order.  What it raises is
        raised to every caller of that batch.
    most: items in one batch.
    weigh: bytes of an item; `most_bytes` bounds their sum, though one item always goes.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]],
        *,
        most: int = 256,
        weigh: Callable[[Item], int] | None = None,
        most_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._send = send
        self._most = most
        self._weigh = weigh
        self._most_bytes = most_bytes
        self._gathered: list[tuple[Item, asyncio.Future[Outcome]]] = []
        self._sending: asyncio.Task[None] | None = None

    def __call__(self, item: Item) -> "asyncio.Future[Outcome]":
        """Add an item; the future has its outcome."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._gathered.append((item, future))
        if self._sending is None:
            # The task starts in the next turn of the loop: items added until then join the batch.
            self._sending = asyncio.create_task(self._send_all())
        return future

    async def _send_all(self) -> None:
        try:
            while self._gathered:
                await self._send_one(self._next_batch())
        finally:
            self._sending = None
            if self._gathered and asyncio.get_running_loop().is_running():
                self._sending = asyncio.create_task(self._send_all())

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        count = min(self._most, len(self._gathered))
        if self._weigh is not None:
            total = 0
            for position, (item, _) in enumerate(self._gathered[:count]):
                total += self._weigh(item)
                if total > self._most_bytes and position > 0:
                    count = position
                    break
        batch, self._gathered = self._gathered[:count], self._gathered[count:]
        return batch

    async def _send_one(self, batch: list[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes = await self._send([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)


async def all_of(futures: "Sequence[asyncio.Future[Outcome]]") -> list[Outcome]:
    """Wait for many outcomes; raise the first error once all are decided.

    They come together, from one batch or a few, so that waiting for one after the other is
    cheaper than asyncio.gather's callback for each.
    """
    outcomes: list[Outcome] = []
    failure: BaseException | None = None
    for future in futures:
        try:
            outcomes.append(await future)
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return outcomes
