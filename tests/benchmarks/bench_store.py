"""What each verb of the store costs Redis: commands and script time, per call and per entry.

    python -m tests.benchmarks.bench_store [--entries 1024] [--batch 1 16]

Calls the store without HTTP, for jobs (`submit`, `look`) and for plain entries (`put`), with and
without a limited token, and takes the difference of `INFO commandstats` around each verb.  The
interpreter's share is what a script takes beside the commands inside it.  The ratio is to one XADD
of the same entry in the same run.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from redis.asyncio import Redis

from deploy.local.redis_server import RedisServer
from queue_service.settings.process import Settings
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.entry import Ask, Completed, Delivery, Filter, NewEntry, Read, Subscription
from queue_service.store.keys import Keys
from queue_service.store.owners import owned_name
from queue_service.store.putter import Putter
from queue_service.store.scripts import Scripts
from queue_service.store.store import Store
from queue_service.store.ticket import Submission
from tests.benchmarks.command_stats import read_stats
from tests.fair.shop import LEASE_MS, SERVICE, Shop

Outcome = TypeVar("Outcome")

DATA = b"x" * 256
DAY_MS = 86_400_000


@asynccontextmanager
async def running_shop(redis_url: str) -> AsyncIterator[Shop]:
    """The queue of a service in an empty Redis."""
    settings = Settings(redis_url=redis_url, key_prefix="bench")
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    try:
        yield Shop(Scripts(servers, confirmation, timeout_s=30.0), Keys("bench", SERVICE))
    finally:
        await servers.aclose()


class Meter:
    """Measures calls and prints a line for each verb.

    floor_us: what one XADD takes; 0 prints nothing.
    """

    def __init__(self, redis: Redis, floor_us: float) -> None:
        self._redis = redis
        self._floor_us = floor_us

    def print_header(self) -> None:
        """Print the names of the columns, and what they are compared with."""
        print(f"one XADD: {self._floor_us:.1f} us")
        print(f"{'':<28}{'a call':>8}{'each entry':>20}")
        print(f"{'verb':<28}{'us':>8}{'commands':>10}{'us':>10}{'interpreter':>13}{'ratio':>8}")

    async def measure(
        self,
        name: str,
        batches: Sequence[Sequence[Any]],
        call: Callable[[Any], Awaitable[Outcome]],
    ) -> list[Outcome]:
        """Call for each batch, one after the other; return what the calls returned."""
        before = await read_stats(self._redis)
        outcomes = [await call(batch) for batch in batches]
        spent = (await read_stats(self._redis)) - before
        entries = sum(map(len, batches))
        if self._floor_us:
            each_us = spent.script_us / entries
            print(
                f"{name:<28}{spent.script_us / len(batches):>8.0f}"
                f"{spent.inner_calls / entries:>10.1f}{each_us:>10.1f}"
                f"{1 - spent.inner_us / spent.script_us:>13.0%}{each_us / self._floor_us:>8.1f}"
            )
        return outcomes


async def floor_us(redis: Redis, entries: int) -> float:
    """What Redis takes for one XADD."""
    before = await read_stats(redis)
    for number in range(entries):
        await redis.xadd("floor", {"r": number, "t": "{}", "d": DATA})
    spent = (await read_stats(redis)) - before
    await redis.delete("floor")
    return spent.us["xadd"] / entries


def _cut(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


async def _all(futures: "Iterable[asyncio.Future[Any]]") -> list[Any]:
    return list(await asyncio.gather(*futures))


@dataclass(frozen=True, slots=True)
class Walk:
    """Takes some entries, or jobs, through every verb, `batch` in each call.

    gid: the group that reads the results of entries.
    """

    shop: Shop
    meter: Meter
    entries: int
    batch: int
    putter: Putter | None

    @property
    def _about(self) -> str:
        return f"x{self.batch}" + (", token" if self.putter else "")

    async def of_entries(self) -> None:
        """Put, deliver, complete; watch the results and commit them."""
        owner = self.putter.owner if self.putter else ""

        async def put(some: Sequence[str]) -> None:
            entries = [NewEntry(name, DATA, putter=self.putter, owner=owner) for name in some]
            await _all(self.shop.store.put(entry) for entry in entries)

        names = [f"entry-{number}" for number in range(self.entries)]
        batches = _cut(names, self.batch)
        await self.meter.measure(f"put {self._about}", batches, put)
        taken = await self._deliver("entry", self.shop.store, SERVICE, batches)
        await self._complete("entry", taken)

        async def commit(some: Sequence[Delivery]) -> None:
            await _all(self.shop.sink.commit((gid, "w", one.entry.index)) for one in some)

        gid = owned_name(owner, "reader")
        results = await self._deliver("result", self.shop.sink, gid, batches)
        await self.meter.measure(f"commit result {self._about}", results, commit)
        await self.shop.sink.release(gid, "w", session="s", grace_ms=0)

    async def of_jobs(self) -> None:
        """Submit, deliver, complete, look in between; read the results."""

        async def submit(some: Sequence[str]) -> list[str]:
            jobs = [
                Submission(name, DATA, "digest", DAY_MS, DAY_MS, putter=self.putter)
                for name in some
            ]
            return [one.name for one in await _all(map(self.shop.tickets.submit, jobs))]

        async def look(some: Sequence[str]) -> None:
            await _all(map(self.shop.tickets.look, some))

        async def get(some: Sequence[str]) -> None:
            reads = [Read(Filter(request_id=name), 1, take=False) for name in some]
            await _all(map(self.shop.sink.get, reads))

        ids = [f"job-{number}" for number in range(self.entries)]
        batches = await self.meter.measure(f"submit {self._about}", _cut(ids, self.batch), submit)
        await self.meter.measure(f"look, queued {self._about}", batches, look)
        taken = await self._deliver("job", self.shop.store, SERVICE, batches)
        await self.meter.measure(f"look, held {self._about}", batches, look)
        await self._complete("job", taken)
        await self.meter.measure(f"look, ended {self._about}", batches, look)
        await self.meter.measure(f"get {self._about}", batches, get)
        for names in batches:
            for name in names:
                await self.shop.tickets.purge_ticket(name)

    async def _deliver(
        self, what: str, store: Store, gid: str, batches: Sequence[Sequence[str]]
    ) -> list[list[Delivery]]:
        async def deliver(some: Sequence[str]) -> list[Delivery]:
            handout = await store.deliver(gid, [Ask("w", "s", len(some))])
            return list(handout.deliveries["w"])

        about = {"kind": "worker"}
        await store.subscribe(
            Subscription(
                gid, "w", "s", self.entries, LEASE_MS, resident=gid == SERVICE, about=about
            )
        )
        return await self.meter.measure(f"deliver {what} {self._about}", batches, deliver)

    async def _complete(self, what: str, taken: Sequence[Sequence[Delivery]]) -> None:
        async def complete(some: Sequence[Delivery]) -> None:
            done = [
                Completed(SERVICE, "w", one.entry.index, one.attempt, DATA, {"lastCode": "200"})
                for one in some
            ]
            await _all(map(self.shop.store.complete, done))

        await self.meter.measure(f"complete {what} {self._about}", taken, complete)
        await self.shop.store.release(SERVICE, "w", session="s", grace_ms=0)


async def measure(entries: int, batches: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder) / "redis", appendfsync="no")
        await server.start()
        redis = Redis.from_url(server.url)
        try:
            async with running_shop(server.url) as shop:
                silent = Meter(redis, 0.0)
                # The first call of each script is the one that compiles it.
                await Walk(shop, silent, 4, 4, None).of_entries()
                await Walk(shop, silent, 4, 4, None).of_jobs()
                meter = Meter(redis, await floor_us(redis, entries))
                meter.print_header()
                for putter in (None, Putter("t", owner="anna")):
                    for batch in batches:
                        walk = Walk(shop, meter, entries, batch, putter)
                        await walk.of_entries()
                        await walk.of_jobs()
        finally:
            await redis.aclose()
            await server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1024)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.entries, arguments.batch))
