"""How many jobs a client of a run is to put, and when."""

import asyncio

from tests.waiting import let_pass

#: How often the jobs of a rate are released, in seconds.
BEAT_S = 0.02
#: Of a rate, what was missed during an outage is made up for this long, in seconds.
MOST_BEHIND_S = 5.0
#: The longest that a hand waits for a job before it looks again, in seconds.
LOOK_S = 1.0


class Pacer:
    """Releases jobs to the tasks that put them."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._wanted = asyncio.Semaphore(0)
        self._waiting = 0

    def set_rate(self, per_second: float) -> None:
        """Want this number per second from now on; with none what is still wanted is forgotten."""
        self._rate = per_second
        if not per_second:
            self._wanted, self._waiting = asyncio.Semaphore(0), 0

    def want(self, count: int) -> None:
        """Want this number more."""
        self._waiting += count
        for _ in range(count):
            self._wanted.release()

    async def beat(self) -> None:
        """Keep the rate up, for ever."""
        owed = 0.0
        while True:
            await let_pass(BEAT_S)
            owed += self._rate * BEAT_S
            whole = int(owed)
            owed -= whole
            if self._waiting + whole <= self._rate * MOST_BEHIND_S:
                self.want(whole)

    async def take(self) -> bool:
        """Take a job that is wanted; False when there was none for a while."""
        wanted = self._wanted
        try:
            async with asyncio.timeout(LOOK_S):
                await wanted.acquire()
        except TimeoutError:
            return False
        self._waiting = max(0, self._waiting - 1)
        return True
