"""Owners, workers and operators in any order: every entry has one end, and the sums are right."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from queue_service.store.dead_letters import Choice
from tests.fair.shop import Shop

Differences = Callable[[], list[str]]

OWNERS = ("", "a", "b", "c")
#: Most of `c` at once.
MOST = 2


class Model:
    """What must be true: which entries are there, and who has them."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop = shop
        self.random = random.Random(seed)
        self.there: set[int] = set()
        self.done: Counter[int] = Counter()
        self.workers: list[str] = []
        self._joined = 0

    def held(self) -> dict[int, str]:
        return {index: uid for uid in self.workers for index in self.shop.held[uid]}

    async def put(self) -> None:
        owner = self.random.choice(OWNERS)
        limits: dict[str, Any] = {"running": MOST} if owner == "c" else {}
        count, priority = self.random.randint(1, 4), self.random.choice((0, 0, 0, 1))
        bulk = owner != "c" and self.random.random() < 0.3
        put = self.shop.put(owner, count, priority=0 if bulk else priority, bulk=bulk, **limits)
        self.there.update(await put)

    async def join(self) -> None:
        if len(self.workers) < 4:
            self._joined += 1
            self.workers.append(f"w{self._joined}")
            await self.shop.join(self.workers[-1], self.random.randint(1, 4))

    async def crash(self) -> None:
        if self.workers:
            uid = self.workers.pop(self.random.randrange(len(self.workers)))
            await self.shop.leave(uid)

    async def take(self) -> None:
        before = self.held()
        if not self.workers:
            return
        taken = await self.shop.take(*self.random.sample(self.workers, len(self.workers)))
        indexes = [delivery.entry.index for delivery in taken]
        assert len(set(indexes)) == len(indexes)
        assert not set(indexes) & before.keys(), "handed out while another has it"
        assert set(indexes) <= self.there, "handed out and not there"
        running = Counter(self.shop.owner_of[index] for index in self.held())
        assert running["c"] <= MOST
        room = any(len(self.shop.held[uid]) == 0 for uid in self.workers)
        waiting = Counter(self.shop.owner_of[index] for index in self.there - self.held().keys())
        if room:
            # No worker may be idle while an entry could run.
            assert not waiting.total() - waiting["c"]
            assert not waiting["c"] or running["c"] == MOST

    async def finish(self) -> None:
        for index, uid in self.held().items():
            if self.random.random() < 0.5:
                await self.shop.finish(uid, index)
                self.there.discard(index)
                self.done[index] += 1

    async def reject(self) -> None:
        for index, uid in self.held().items():
            if self.random.random() < 0.2:
                assert await self.shop.reject(uid, index)

    async def delete(self) -> None:
        free = sorted(self.there - self.held().keys())
        for index in self.random.sample(free, min(2, len(free))):
            assert await self.shop.store.delete([index]) == 1
            self.there.discard(index)

    async def switch(self) -> None:
        self.shop.change(fair=self.random.random() < 0.7)

    async def step(self) -> None:
        often = {
            self.put: 30,
            self.take: 35,
            self.finish: 30,
            self.reject: 8,
            self.join: 8,
            self.crash: 5,
            self.delete: 4,
            self.switch: 3,
        }
        (verb,) = self.random.choices(list(often), list(often.values()))
        await verb()


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_every_entry_ends_once(
    shop: Shop, seed: int, differences: Differences
) -> None:
    model = Model(shop, seed)
    for number in range(150):
        await model.step()
        if number % 10 == 0:
            assert not differences()
    await model.join()
    if not model.workers:
        await model.join()
    for uid in model.workers:
        await shop.finish_all(uid)
    while taken := await shop.take(*model.workers):
        for delivery in taken:
            model.done[delivery.entry.index] += 1
        for uid in model.workers:
            await shop.finish_all(uid)
    place = await shop.store.attributes()
    assert place.length == 0
    assert set(model.done.values()) <= {1}
    assert not differences()


async def test_dead_letters_keep_their_owner(shop: Shop) -> None:
    shop.change(max_delivery=1, dead_message_policy="Park")
    await shop.put("a", 1, running=1)
    await shop.put("b", 1)
    await shop.join("v", 2)
    await shop.take("v")
    await shop.leave("v")
    replayed = await shop.store.dead_letters.replay(Choice(), most=10)
    shop.owner_of.update({new: shop.owner_of[old] for old, new, _ in replayed.replayed})
    refusal = await shop.refused("a", in_line=1)
    assert refusal.count == 1
