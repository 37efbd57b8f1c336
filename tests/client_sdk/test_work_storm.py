"""A worker's connection that is cut again and again still says what became of every answer."""

import asyncio
import random

import pytest

from client_sdk.backoff import Backoff
from client_sdk.wire.worker import Completion, Delivery, Outcome, Result
from client_sdk.work import WorkConnection
from tests.client_sdk.peers import WorkPeer, serving

DELIVERIES = 300


class CuttingPeer(WorkPeer):
    """Keeps the truth, and cuts the connection at the two worst moments."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(verdict=self.judge)
        self.chance = chance
        self.carried_out: list[int] = []

    def judge(self, index: int) -> bool | None:
        if index in self.carried_out:
            return False
        luck = self.chance.random()
        if luck < 0.03:
            self.carried_out.append(index)  # And nobody hears of it.
        if luck < 0.06:
            asyncio.get_running_loop().call_soon(self.abort)
            return None
        self.carried_out.append(index)
        return True


@pytest.mark.parametrize("seed", range(4))
async def test_every_answer_has_an_outcome_and_is_carried_out_once(seed: int) -> None:
    peer = CuttingPeer(random.Random(seed))
    few = asyncio.Semaphore(8)

    async def answered(index: int) -> Outcome:
        async with few:
            return await connection.complete(Completion(index, 1, Result(b"done")))

    async with (
        serving(peer.handle) as url,
        WorkConnection(url, "svc", window=DELIVERIES, backoff=Backoff(0.01, 0.05)) as connection,
        asyncio.timeout(30),
    ):
        await connection.wait_connected()
        everything = range(1, DELIVERIES + 1)
        await peer.deliver(*(Delivery(index, 1, f"r{index}", b"work") for index in everything))
        for _ in everything:
            await anext(connection)
        outcomes = await asyncio.gather(*map(answered, everything))
        statistics = connection.statistics()

    assert statistics.connections > 5
    assert (statistics.working, statistics.unconfirmed) == (0, 0)
    assert sorted(peer.carried_out) == list(everything)
    refused = [outcome for outcome in outcomes if not outcome.accepted]
    assert {outcome.code for outcome in refused} <= {"LEASE_LOST"}
    # Only what was carried out unheard is refused at its second sending.
    assert len(refused) < DELIVERIES / 10
