"""The position that a search shows is the one from which an entry is delivered."""

import random
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from queue_service.store.entry import Filter, Subscription
from tests.fair.shop import LEASE_MS, SERVICE, Shop

Differences = Callable[[], list[str]]


async def _places(shop: Shop, indexes: list[int], gid: str = SERVICE) -> dict[int, tuple[int, str]]:
    found: dict[int, tuple[int, str]] = {}
    for index in indexes:
        place = await shop.store.search(gid, index, workers_gid=SERVICE)
        if place is not None and index not in shop.held["w"]:
            found[index] = (place.ahead, place.quality)
    return found


async def _order(shop: Shop, uid: str = "w") -> list[int]:
    """The indexes of everything that waits, in the order in which it goes out."""
    order = []
    while taken := await shop.take(uid):
        order += [delivery.entry.index for delivery in taken]
        await shop.finish_all(uid)
    return order


async def test_higher_priority_counts_before_and_not_by_its_index(shop: Shop) -> None:
    normal = await shop.put("", 5)
    urgent = await shop.put("", 2, priority=5)
    for gid in (SERVICE, "eas"):
        places = await _places(shop, normal + urgent, gid)
        assert [places[index] for index in urgent] == [(0, "exact"), (1, "exact")]
        assert [places[index][0] for index in normal] == [2, 3, 4, 5, 6]


async def test_entries_behind_those_that_were_removed_close_up(shop: Shop) -> None:
    indexes = await shop.put("", 9)
    await shop.store.truncate(indexes[4])
    places = await _places(shop, indexes)
    assert [places[index][0] for index in indexes[4:]] == [0, 1, 2, 3, 4]
    await shop.store.delete([indexes[5], indexes[7]])
    places = await _places(shop, indexes)
    assert list(places.values()) == [(0, "exact"), (1, "exact"), (2, "exact")]


@pytest.mark.parametrize("owner", ["", "a"])
@pytest.mark.parametrize("seed", range(4))
async def test_places_are_those_of_the_real_order(
    shop: Shop, owner: str, seed: int, differences: Differences
) -> None:
    """Puts, deletions, truncates, crashes and answers in any order; then everything goes out."""
    chance = random.Random(seed)
    await shop.join("w", 2)
    await shop.join("v", 2)
    known: list[int] = []
    for _ in range(40):
        match chance.randrange(8):
            case 0 | 1 | 2:
                count, priority = chance.randint(1, 5), chance.choice((0, 0, 1))
                known += await shop.put(owner, count, priority=priority)
            case 3 | 4:
                await shop.take(chance.choice("vw"))
            case 5:
                await shop.finish_all(chance.choice("vw"))
            case 6 if known:
                free = set(known) - shop.held["w"].keys() - shop.held["v"].keys()
                await shop.store.delete(chance.sample(sorted(free), min(2, len(free))))
            case 7 if known and chance.random() < 0.3:
                held = [*shop.held["w"], *shop.held["v"]]
                await shop.store.truncate(min([chance.choice(known), *held]))
    await shop.finish_all("w")
    await shop.leave("v")
    places = await _places(shop, known)
    assert {quality for _, quality in places.values()} <= {"exact"}
    order = await _order(shop)
    assert sorted(order) == sorted(places)
    assert {index: ahead for index, (ahead, _) in places.items()} == {
        index: position for position, index in enumerate(order)
    }
    assert not differences()


async def test_a_place_among_others_entries_or_behind_a_filter_does_not_claim_to_be_exact(
    shop: Shop,
) -> None:
    mine = await shop.put("a", 2)
    await shop.put("b", 2)
    assert (await _places(shop, mine))[mine[1]][1] == "about"
    own = Subscription("eas", "reader", "s", 1, LEASE_MS, Filter(tags={"for": "x"}))
    await shop.store.subscribe(own)
    await shop.store.deliver("eas", [])
    assert (await _places(shop, mine, "eas"))[mine[1]][1] == "at_most"
    await shop.store.release("eas", "reader", session="s", grace_ms=0)


async def test_gaps_are_forgotten_when_nothing_waits_in_front_of_them(
    shop: Shop, redis_url: str, key_prefix: str
) -> None:
    indexes = await shop.put("", 50)
    await shop.store.delete(indexes[1::2])
    await shop.put("", 3, priority=1)
    await shop.store.delete(indexes[:40:2])
    await shop.store.expire(LEASE_MS)
    assert [ahead for ahead, _ in (await _places(shop, indexes)).values()] == [3, 4, 5, 6, 7]
    await shop.store.truncate(2**53)
    await shop.store.expire(LEASE_MS)
    async with Redis.from_url(redis_url) as redis:
        assert not await redis.exists(f"{key_prefix}:{{{SERVICE}}}:gaps")
