"""A client of a run: puts the jobs that standard input asks for, and notes what became of each put.

    python -m tests.faults.client_main <journal> <name> <url> <seed> sdk|lean

`sdk` uses the product's client, half of its hands with retries; `lean` asks once, as curl does.

Commands on stdin: `rate <jobs per second>`, `burst <jobs>`, `slow <share> <milliseconds>`,
`long <jobs> <milliseconds>`: jobs that take this time, before all others.
"""

import asyncio
import random
import sys
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Protocol

import uvloop

from client_sdk import AsyncQueueClient, errors
from client_sdk.transport import RetryPolicy
from tests.faults.event import What
from tests.faults.handler import encode
from tests.faults.journal import Journal
from tests.faults.lean_client import LeanConnection, Unanswered
from tests.faults.pacer import Pacer
from tests.faults.told import listen
from tests.running import TOKEN
from tests.waiting import let_pass

#: Puts under way at once: a machine whose cores are all busy answers each of them late.
HANDS = 64
#: From a put that failed to the next of the same hand, in seconds.
PAUSE_S = 0.1
#: The share of jobs that go first.
URGENT = 0.1


class Put(Protocol):
    """One way to put a job: returns what became of it, and its index."""

    def __call__(
        self, data: bytes, request_id: str, *, priority: int
    ) -> Awaitable[tuple[What, int]]: ...


class Putter:
    """Puts jobs at a pace."""

    def __init__(self, journal: Journal, url: str, seed: int) -> None:
        self._journal = journal
        self._url = url
        self._random = random.Random(seed)
        self._pacer = Pacer()
        #: By how long a job takes, in milliseconds: the share of such jobs.
        self._shares: dict[int, float] = {}
        #: The milliseconds of jobs that were asked for with `long`, and were not put yet.
        self._long: list[int] = []
        self._count = 0

    def obey(self, words: list[str]) -> None:
        """Do what a line says."""
        match words:
            case ["rate", rate]:
                self._pacer.set_rate(float(rate))
            case ["burst", count]:
                self._pacer.want(int(count))
            case ["slow", share, delay_ms]:
                self._shares[int(delay_ms)] = float(share)
            case ["long", count, delay_ms]:
                self._long += [int(delay_ms)] * int(count)
                self._pacer.want(int(count))
            case _:
                raise ValueError(f"expected rate, burst, slow or long, got {words}")

    async def run(self, kind: str) -> None:
        """Put for ever."""
        once = AsyncQueueClient(
            self._url, "svc", token=TOKEN, timeout_s=8, retry=RetryPolicy(retries=0)
        )
        again = AsyncQueueClient(
            self._url, "svc", token=TOKEN, timeout_s=8, retry=RetryPolicy(most_delay_s=0.5)
        )
        async with once, again, asyncio.TaskGroup() as group:
            group.create_task(self._pacer.beat())
            for number in range(HANDS):
                if kind == "lean":
                    put = partial(self._put_lean, LeanConnection(self._url))
                elif number % 2:
                    put = partial(self._put_by_sdk, again, retries=True)
                else:
                    put = partial(self._put_by_sdk, once, retries=False)
                group.create_task(self._put_for_ever(put))

    async def _put_for_ever(self, put: Put) -> None:
        while True:
            if not await self._pacer.take():
                continue
            self._count += 1
            request_id = f"{self._journal.who}-{self._count}"
            is_long = bool(self._long)
            data = encode(request_id, self._long.pop() if is_long else self._draw_delay_ms())
            urgent = int(is_long or self._random.random() < URGENT)
            self._journal.note(What.ASKED, request_id)
            what, index = await put(data, request_id, priority=urgent)
            self._journal.note(what, request_id, index=index)
            if what is not What.ACCEPTED:
                await let_pass(PAUSE_S)

    def _draw_delay_ms(self) -> int:
        drawn = self._random.random()
        for ms, share in self._shares.items():
            if 0 <= drawn < share:
                return ms
            drawn -= share
        return 0

    async def _put_by_sdk(
        self,
        queue: AsyncQueueClient,
        data: bytes,
        request_id: str,
        *,
        priority: int,
        retries: bool,
    ) -> tuple[What, int]:
        try:
            receipt = await queue.put(data, request_id=request_id, priority=priority)
        except (errors.QueueFull, errors.Refused):
            # After a retry this says nothing of the tries before.
            return (What.UNKNOWN if retries else What.REFUSED), 0
        except errors.QueueError:
            return What.UNKNOWN, 0
        return What.ACCEPTED, receipt.index

    async def _put_lean(
        self, connection: LeanConnection, data: bytes, request_id: str, *, priority: int
    ) -> tuple[What, int]:
        try:
            status, index = await connection.put(data, request_id, priority=priority)
        except Unanswered:
            return What.UNKNOWN, 0
        if status == 200:
            return What.ACCEPTED, index
        # A 503 may be that of a Redis whose answer got lost.
        return (What.REFUSED if 400 <= status < 500 else What.UNKNOWN), 0


async def _main() -> None:
    path, name, url, seed, kind = sys.argv[1:6]
    journal = Journal(Path(path), name)
    journal.note(What.STARTED)
    putter = Putter(journal, url, int(seed))
    running = asyncio.create_task(putter.run(kind))
    listening = asyncio.create_task(listen(putter.obey))
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(_main())
