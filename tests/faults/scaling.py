"""How workers come and go while others are hurt: by the product's own autoscalers."""

import random
import signal
from collections.abc import Awaitable, Callable

from tests.faults.cells import Fault
from tests.faults.cluster import Cluster
from tests.faults.event import now
from tests.faults.fleet import FEW, MANY, SETTLED_S
from tests.waiting import let_pass, wait_until

#: Jobs that are put before a change, and how long each takes, in milliseconds.  Enough for every
#: worker, because those without one leave first; longer than a worker has after a signal.
LONG_JOBS, LONG_MS = 96, 4500
#: How long they have to reach a worker, in seconds; those that come later are jobs as others are.
DELIVERED_S = 1.0
#: How often to begin again when faults at the same time had changed the number themselves.
TRIES = 5


class Scaling:
    """Changes the number of workers of one cluster, one change at a time."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._fleet = cluster.fleet
        self._random = rng

    def method(self, fault: Fault) -> Callable[[], Awaitable[None]]:
        """Return how a fault is done."""
        return {
            Fault.OUT: self._scale_out,
            Fault.IN: self._scale_in,
            Fault.KILL_IN_OUT: lambda: self._hurt_in_scale_out(signal.SIGKILL),
            Fault.KILL_IN_IN: lambda: self._hurt_in_scale_in(signal.SIGKILL),
            Fault.FREEZE_IN_OUT: lambda: self._hurt_in_scale_out(signal.SIGSTOP),
            Fault.FREEZE_IN_IN: lambda: self._hurt_in_scale_in(signal.SIGSTOP),
        }[fault]

    async def _scale_out(self) -> None:
        await self._ready_for(FEW)
        await self._change_to(MANY)

    async def _scale_in(self) -> None:
        await self._ready_for(MANY)
        await self._change_to(FEW)

    async def _hurt_in_scale_out(self, number: signal.Signals) -> None:
        for _ in range(TRIES):
            await self._ready_for(FEW)
            if await self._change_without_autoscaler(MANY, "start", number):
                return

    async def _hurt_in_scale_in(self, number: signal.Signals) -> None:
        for _ in range(TRIES):
            await self._ready_for(MANY)
            if await self._change_without_autoscaler(FEW, "leaving", number):
                return

    async def _ready_for(self, workers: int) -> None:
        """Have this number of workers first, and jobs with them that take long."""
        if await self._fleet.size() != workers:
            await self._change_to(workers)
        for client in self._cluster.clients:
            client.tell(f"long {LONG_JOBS // len(self._cluster.clients)} {LONG_MS}")
        await let_pass(DELIVERED_S)

    async def _change_to(self, workers: int) -> None:
        await self._fleet.resize(workers)
        await self._fleet.settled(workers)
        await self._fleet.leave_alone()

    async def _change_without_autoscaler(
        self, workers: int, verb: str, number: signal.Signals
    ) -> bool:
        """Change the number, kill or freeze the autoscaler in the middle; another one finishes."""
        fleet = self._fleet
        with fleet.hurting_at(verb, number, goes_on=self._random.random() < 0.5) as hurting:

            async def is_over() -> bool:
                return hurting.done() or await fleet.is_settled(workers)

            await fleet.resize(workers)
            await wait_until(is_over, f"the number of workers changes to {workers}", SETTLED_S)
            if not hurting.done():
                # Others were hurt and came back, and so there was nothing to do.
                return False
            hurt, hurt_at = hurting.result(), now()
            await fleet.taken_over(hurt, hurt_at)
            await fleet.settled(workers)
            if number is signal.SIGSTOP:
                await fleet.thaw(hurt)
                # What it had decided before does not count any more.
                await fleet.settled(workers)
        await fleet.leave_alone()
        if number is signal.SIGKILL:
            # Only now, so that it was not the one that finished.
            hurt.spawn()
            await wait_until(hurt.ready, f"{hurt.name} is ready again", 60)
        return True
