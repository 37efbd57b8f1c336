"""A seeded storm: puts, answers, rejections, cuts, deaths and killed processes, at random.

Whatever happens, no worker is ever handed more than its window, and at the end every accepted
request id is in the sink exactly once.  PENSTOCK_STORM_SEED repeats a run.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from client_sdk.wire import names
from tests.conftest import StartService
from tests.promises.conftest import Client, Peers
from tests.promises.peer import Peer
from tests.running import START_S, QueueServiceProcess
from tests.waiting import WaitedInVain, wait_until

STEPS = 2500
#: Kills of a queue service process in one storm.
KILLS = 4
LEASE_MS = 1500
#: Until a put is accepted, in seconds: longer than a killed service may take to serve again.
ACCEPTED_S = START_S + 30.0


class Storm:
    """What happens in a storm; each step is one thing."""

    def __init__(
        self, seed: int, services: list[QueueServiceProcess], client: Client, peers: Peers
    ) -> None:
        self.random = random.Random(seed)
        self.services = services
        self.client = client
        self.peers = peers
        self.accepted: list[str] = []
        self.violations: list[str] = []
        self.starting: dict[QueueServiceProcess, asyncio.Task[None]] = {}
        for window in (1, 2, 3, 4, 5, 8):
            peers.make(window, on_delivery=self.check)

    def check(self, peer: Peer, _: object) -> None:
        """Note a window that is exceeded, at the very moment."""
        if len(peer.held) > peer.window:
            self.violations.append(f"{peer.uid} holds {len(peer.held)} of {peer.window}")

    async def step(self) -> None:
        peer = self.random.choice(self.peers)
        step = self.random.choices(
            [self.put, self.complete, self.reject, self.commit_twice, self.cut, self.die],
            [35, 45, 8, 3, 5, 4],
        )[0]
        await self.take(step, peer)

    async def take(self, step: Callable[[Peer], Awaitable[None]], peer: Peer) -> None:
        """Do one thing with a peer, and connect it again when that has cut it off."""
        try:
            await step(peer)
        except WaitedInVain:
            raise
        except (aiohttp.ClientError, ConnectionError, AssertionError, TimeoutError):
            # The process at the other end was just killed, or the lease is over.
            await peer.cut()
        if not peer.connected:
            await self.connect(peer)

    async def connect(self, peer: Peer) -> None:
        service = self.random.choice(self.services)
        try:
            await asyncio.wait_for(peer.connect(service.url), 30)
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            await peer.cut()

    async def put(self, _: Peer) -> None:
        """Put until it is accepted, always under the same request id."""
        request_id = f"request-{self.random.getrandbits(64):x}"
        query = {names.REQUEST_ID_TAG: request_id}
        if self.random.random() < 0.1:
            query[names.PRIORITY] = "1"

        async def accepted() -> bool:
            self.client.url = self.random.choice(self.services).url
            try:
                _, kept = await self.client.put(request_id.encode(), **query)
            except aiohttp.ClientError:
                return False
            assert kept == request_id
            return True

        await wait_until(accepted, f"{request_id} is accepted", ACCEPTED_S)
        self.accepted.append(request_id)

    async def complete(self, peer: Peer) -> None:
        held = list(peer.held)
        if held and peer.connected:
            await peer.complete(*self.random.sample(held, self.random.randint(1, len(held))))

    async def reject(self, peer: Peer) -> None:
        if peer.held and peer.connected:
            await peer.reject(self.random.choice(list(peer.held)))

    async def commit_twice(self, peer: Peer) -> None:
        """Answer the same delivery twice: the second must change nothing."""
        if peer.held and peer.connected:
            index, delivery = self.random.choice(list(peer.held.items()))
            await peer.complete(index)
            peer.held[index] = delivery
            await peer.complete(index)

    async def cut(self, peer: Peer) -> None:
        """Lose the connection and come back at once, still at work."""
        await peer.cut()

    async def die(self, peer: Peer) -> None:
        """Crash: everything in hand is gone, and a new process comes up."""
        await peer.vanish()

    async def kill_a_service(self) -> None:
        service = self.random.choice(self.services)
        if starting := self.starting.pop(service, None):
            # It is killed while it starts: a task that awaits the start must not see the end.
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
        if service.running:
            service.kill()
        self.starting[service] = asyncio.create_task(service.start())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("replicas", [1, 2], ids=["one process", "two processes"])
async def test_a_storm_loses_nothing_and_exceeds_no_window(
    start_service: StartService, client: Client, peers: Peers, replicas: int
) -> None:
    seed = int(os.environ.get("PENSTOCK_STORM_SEED") or random.SystemRandom().getrandbits(32))
    print(f"PENSTOCK_STORM_SEED={seed}")
    service = {"name": "svc", "max_delivery": 0}
    services = [await start_service(service, lease_ms=LEASE_MS) for _ in range(replicas)]
    storm = Storm(seed, services, client, peers)
    for peer in peers:
        await storm.connect(peer)
    kills = set(storm.random.sample(range(STEPS // 10, STEPS * 9 // 10), KILLS))

    for number in range(STEPS):
        await storm.step()
        if number in kills:
            await storm.kill_a_service()
    await asyncio.gather(*storm.starting.values())

    assert not storm.violations
    client.url = services[0].url

    async def all_answered() -> bool:
        for peer in peers:
            # On a slow machine leases end in silence here as well.
            await storm.take(storm.complete, peer)
        return await client.length() == 0

    await wait_until(all_answered, "every accepted entry has its result", 120)
    results: Counter[str] = Counter()
    while frames := await client.read(1000):
        results.update(frame.tags[names.REQUEST_ID_TAG] for frame in frames)
    assert not storm.violations
    assert results == Counter(storm.accepted)
    assert len(storm.accepted) > STEPS // 5
