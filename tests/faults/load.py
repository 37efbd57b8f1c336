"""What the clients and readers of a round do while others are hurt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.exceptions import RedisError

from tests.faults.cells import Load
from tests.faults.cluster import Cluster
from tests.faults.event import What
from tests.waiting import let_pass

#: The shares of the two clients: the second one costs its machine less.
SHARES = (0.25, 0.75)
#: How long a full sink stays full, in seconds.
FULL_S = 4.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is put.

    rate: jobs per second of all clients together, when they are steady.
    team_rate: jobs per second of each team, whatever the load is, but for an idle one.
    backlog: the entries between which a backlog is kept.
    slow: shares of jobs that take a while, and how long, in milliseconds.
    """

    rate: float = 1000.0
    team_rate: float = 8.0
    backlog: tuple[int, int] = (2000, 5000)
    slow: tuple[tuple[float, int], ...] = ((0.01, 100), (0.006, 1200), (0.0005, 4500))


class Keeper:
    """Keeps a load up."""

    def __init__(self, cluster: Cluster, load: Load, pace: Pace | None = None) -> None:
        self._cluster = cluster
        self._load = load
        self._pace = pace or Pace()
        self._slow_lines = tuple(f"slow {share} {ms}" for share, ms in self._pace.slow)
        self._full_since: float | None = None
        self._ended = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep it up inside of the block; after it nothing more is put and everything is read."""
        for client in self._cluster.clients:
            for line in self._slow_lines:
                client.tell(line)
        self._set_rate(0 if self._load in {Load.IDLE, Load.BACKLOG} else self._pace.rate)
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            # Told and not cancelled: a cancellation can get lost in a call that times out.
            self._ended = True
            await keeping
            self._set_rate(0)
            self._set_team_rate(0)
            self._tell_readers("go")

    def probe(self) -> None:
        """Put a few jobs, so that an idle cluster shows whether it works."""
        if self._load is Load.IDLE:
            self._burst(10)
            for team in self._cluster.teams:
                team.tell("burst 2")

    async def _keep(self) -> None:
        while not self._ended:
            await let_pass(LOOK_EVERY_S)
            try:
                waiting, unread = await self._cluster.lengths()
            except (RedisError, OSError):
                continue
            sink_length = self._cluster.shape.sink_length
            self._cluster.journal.note(What.UNREAD, index=unread, window=sink_length)
            least, most = self._pace.backlog
            if self._load is Load.BACKLOG and waiting < least:
                self._burst(most - waiting)
            elif self._load is Load.SINK_FULL:
                self._fill_and_empty(unread)

    def _fill_and_empty(self, unread: int) -> None:
        now = asyncio.get_running_loop().time()
        # What is held has its places in the sink, so it is full a little earlier.
        if unread < self._cluster.shape.sink_length * 0.9:
            self._full_since = None
            if unread < self._cluster.shape.sink_length * 0.1:
                self._tell_readers("pause")
        elif self._full_since is None:
            self._full_since = now
        elif now - self._full_since > FULL_S:
            self._tell_readers("go")

    def _set_rate(self, rate: float) -> None:
        for client, share in zip(self._cluster.clients, SHARES, strict=True):
            # A client that is started again gets it too.
            client.words = (*self._slow_lines, f"rate {rate * share}")
            client.tell(client.words[-1])
        self._set_team_rate(0 if self._load is Load.IDLE else self._pace.team_rate)

    def _set_team_rate(self, rate: float) -> None:
        for team in self._cluster.teams:
            line = f"rate {rate}"
            team.words = (*(word for word in team.words if not word.startswith("rate")), line)
            team.tell(line)

    def _burst(self, count: int) -> None:
        for client, share in zip(self._cluster.clients, SHARES, strict=True):
            client.tell(f"burst {round(count * share)}")

    def _tell_readers(self, line: str) -> None:
        for reader in self._cluster.readers:
            if reader.words != (line,):
                reader.words = (line,)
                reader.tell(line)
