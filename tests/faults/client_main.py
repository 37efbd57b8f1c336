"""A client of a run: puts as many jobs as it is told to, and notes what became of each put.

    python -m tests.faults.client_main <journal> <name> <url> <seed>

Told by stdin: `rate <jobs per second>`, `burst <jobs>`, `slow <share> <milliseconds>`.
"""

import asyncio
import random
import sys
from pathlib import Path

import uvloop

from client_sdk import AsyncQueueClient, errors
from client_sdk.transport import RetryPolicy
from tests.faults.event import What
from tests.faults.handler import encode
from tests.faults.journal import Journal
from tests.faults.told import listen
from tests.running import TOKEN
from tests.waiting import let_pass

#: Puts under way at once.
HANDS = 16
#: How often the jobs of a rate are handed out, in seconds.
BEAT_S = 0.02
#: From a put that failed to the next of the same hand, in seconds.
PAUSE_S = 0.1
#: Of a rate, what was missed during an outage is made up for this long, in seconds.
MOST_BEHIND_S = 1.0
#: The share of jobs that go first.
URGENT = 0.1


class Putter:
    """Puts jobs at a pace."""

    def __init__(self, journal: Journal, url: str, seed: int) -> None:
        self._journal = journal
        self._url = url
        self._random = random.Random(seed)
        self._rate = 0.0
        #: By how long a job takes, in milliseconds: the share of such jobs.
        self._shares: dict[int, float] = {}
        self._wanted = asyncio.Semaphore(0)
        self._waiting = 0
        self._count = 0

    def obey(self, words: list[str]) -> None:
        """Do what a line says."""
        match words:
            case ["rate", rate]:
                self._rate = float(rate)
                if not self._rate:
                    self._forget_wanted()
            case ["burst", count]:
                self._want(int(count))
            case ["slow", share, delay_ms]:
                self._shares[int(delay_ms)] = float(share)
            case _:
                raise ValueError(f"expected rate, burst or slow, got {words}")

    async def run(self) -> None:
        """Put for ever."""
        once = AsyncQueueClient(
            self._url, "svc", token=TOKEN, timeout_s=8, retry=RetryPolicy(retries=0)
        )
        again = AsyncQueueClient(
            self._url, "svc", token=TOKEN, timeout_s=8, retry=RetryPolicy(most_delay_s=0.5)
        )
        async with once, again, asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            for number in range(HANDS):
                queue = again if number % 2 else once
                group.create_task(self._put_for_ever(queue, retries=bool(number % 2)))

    async def _beat(self) -> None:
        owed = 0.0
        while True:
            await let_pass(BEAT_S)
            owed += self._rate * BEAT_S
            whole = int(owed)
            owed -= whole
            if self._waiting + whole <= self._rate * MOST_BEHIND_S:
                self._want(whole)

    def _want(self, count: int) -> None:
        self._waiting += count
        for _ in range(count):
            self._wanted.release()

    def _forget_wanted(self) -> None:
        self._wanted, self._waiting = asyncio.Semaphore(0), 0

    async def _put_for_ever(self, queue: AsyncQueueClient, *, retries: bool) -> None:
        while True:
            wanted = self._wanted
            try:
                async with asyncio.timeout(1.0):
                    await wanted.acquire()
            except TimeoutError:
                continue
            self._waiting = max(0, self._waiting - 1)
            if not await self._put(queue, retries=retries):
                await let_pass(PAUSE_S)

    async def _put(self, queue: AsyncQueueClient, *, retries: bool) -> bool:
        self._count += 1
        request_id = f"{self._journal.who}-{self._count}"
        drawn = self._random.random()
        delay_ms = min((ms for ms, share in self._shares.items() if drawn < share), default=0)
        if drawn < min(self._shares.values(), default=0.0):
            delay_ms = max(self._shares)
        urgent = int(self._random.random() < URGENT)
        self._journal.note(What.ASKED, request_id)
        try:
            receipt = await queue.put(
                encode(request_id, delay_ms), request_id=request_id, priority=urgent
            )
        except (errors.QueueFull, errors.Refused):
            # After a retry this says nothing of the tries before.
            self._journal.note(What.UNKNOWN if retries else What.REFUSED, request_id)
            return False
        except errors.QueueError as error:
            self._journal.note(What.UNKNOWN, request_id, code=error.code)
            return False
        self._journal.note(What.ACCEPTED, request_id, index=receipt.index)
        return True


async def _main() -> None:
    path, name, url, seed = sys.argv[1:5]
    journal = Journal(Path(path), name)
    journal.note(What.STARTED)
    putter = Putter(journal, url, int(seed))
    running = asyncio.create_task(putter.run())
    listening = asyncio.create_task(listen(putter.obey))
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(_main())
