"""Bulk, the lowest priority: it goes after all others, and still goes.

The bound: between two entries of bulk that go before others, 20 others start.
"""

from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from tests.fair.shop import SERVICE, Shop

Differences = Callable[[], list[str]]

#: EVERY of prelude/bulk.lua.
EVERY = 20


async def _order(shop: Shop, bulk: set[int], most: int = 1000) -> str:
    """Run everything, one at a time; "b" for bulk, "o" for others, in the order of their start."""
    order = ""
    while len(order) < most and (taken := await shop.take("w")):
        (delivery,) = taken
        order += "b" if delivery.entry.index in bulk else "o"
        await shop.finish_all("w")
    return order


@pytest.mark.parametrize("others", ["", "a", "b"])
@pytest.mark.parametrize("owner", ["", "a"])
async def test_bulk_goes_after_all_others(
    shop: Shop, owner: str, others: str, differences: Differences
) -> None:
    early = await shop.put(others, 2)
    bulk = set(await shop.put(owner, 5, bulk=True))
    await shop.put(others, 4)
    await shop.put(others, 2, priority=1)
    await shop.join("w")
    assert early
    assert await _order(shop, bulk) == "o" * 8 + "b" * 5
    assert not differences()


@pytest.mark.parametrize("priority", [0, 1])
@pytest.mark.parametrize("fair", [True, False])
async def test_bulk_has_its_turn_after_twenty_others(shop: Shop, priority: int, fair: bool) -> None:
    shop.change(fair=fair)
    bulk = set(await shop.put("a", 3, bulk=True))
    await shop.put("b", 4 * EVERY, priority=priority)
    await shop.join("w")
    turn = "o" * EVERY + "b"
    assert await _order(shop, bulk) == turn * 3 + "o" * EVERY


async def test_a_wide_window_takes_no_more_bulk(shop: Shop) -> None:
    bulk = set(await shop.put("a", 10, bulk=True))
    await shop.put("b", 3 * EVERY)
    await shop.join("w", 3 * EVERY + 2)
    taken = [delivery.entry.index in bulk for delivery in await shop.take("w")]
    assert taken == ([False] * EVERY + [True]) * 2 + [False] * EVERY
    await shop.finish_all("w")


async def test_a_job_that_comes_waits_for_one_run_of_bulk(shop: Shop) -> None:
    """On the only worker, with any number of others already done."""
    bulk = set(await shop.put("a", 4 * EVERY, bulk=True))
    await shop.join("w")
    for _ in range(3 * EVERY):
        (running,) = await shop.take("w")
        (urgent,) = await shop.put("b")
        await shop.finish_all("w")
        (following,) = await shop.take("w")
        if running.entry.index in bulk:
            assert following.entry.index == urgent
        await shop.finish_all("w")


@pytest.mark.parametrize("how", ["crash", "failure"])
async def test_what_is_delivered_again_does_not_overtake_others(shop: Shop, how: str) -> None:
    (first, *_) = bulk = await shop.put("a", 3, bulk=True)
    await shop.join("w")
    await shop.take("w")
    others = await shop.put("b", EVERY + 3)
    if how == "crash":
        await shop.leave("w")
        await shop.join("w")
    else:
        await shop.reject("w", first)
    order = []
    while taken := await shop.take("w"):
        order.append(taken[0].entry.index)
        await shop.finish_all("w")
    # After twenty others bulk has its turn, and what has waited longest goes first.
    assert order == [*others[:EVERY], first, *others[EVERY:], *bulk[1:]]


async def test_bulk_that_waits_for_a_pause_keeps_nobody_back(shop: Shop) -> None:
    (first,) = await shop.put("a", bulk=True)
    await shop.join("w")
    await shop.take("w")
    await shop.reject("w", first, pause_ms=3_600_000, type="transient")
    await shop.put("b", 2 * EVERY)
    assert await _order(shop, {first}) == "o" * 2 * EVERY
    assert await shop.store.delete([first])


async def test_the_limit_of_a_token_holds_for_both_together(shop: Shop) -> None:
    bulk = set(await shop.put("a", 5, bulk=True, running=2))
    await shop.put("a", 1, running=2)
    await shop.join("w", 10)
    taken = [delivery.entry.index in bulk for delivery in await shop.take("w")]
    assert taken == [False, True]
    (interactive,) = await shop.put("a", 1, running=2)
    await shop.finish("w", *(index for index in shop.held["w"] if index in bulk))
    # An entry of bulk that runs takes no place from the token's own.
    assert [delivery.entry.index for delivery in await shop.take("w")] == [interactive]
    while shop.held["w"]:
        await shop.finish_all("w")
        await shop.take("w")


async def test_owners_of_bulk_take_turns(shop: Shop) -> None:
    for owner in "ab":
        await shop.put(owner, 3, bulk=True)
    await shop.join("w")
    await shop.work_off("w")
    assert shop.given[:2] in (["a", "b"], ["b", "a"])


async def test_a_closed_window_keeps_bulk_of_its_token_back(shop: Shop) -> None:
    await shop.put("a", 2, bulk=True)
    await shop.put("b", 2, bulk=True)
    await shop.join("w", 10)
    shop.change(closed_accounts=frozenset(("a", "~a")))
    await shop.take("w")
    assert shop.given == ["b", "b"]
    await shop.finish_all("w")


async def test_places_count_bulk_behind_all_others(shop: Shop) -> None:
    bulk = await shop.put("a", 3, bulk=True)
    others = await shop.put("b", 2) + await shop.put("", 1)

    async def ahead(index: int) -> tuple[int, str]:
        place = await shop.store.search(SERVICE, index, workers_gid=SERVICE)
        assert place is not None
        return place.ahead, place.quality

    assert [(await ahead(index))[0] for index in bulk] == [3, 4, 5]
    assert [(await ahead(index))[0] for index in others] == [0, 2, 0]
    assert {(await ahead(index))[1] for index in bulk + others} == {"about"}


async def test_bulk_that_fails_while_others_run_is_not_forgotten(
    shop: Shop, differences: Differences
) -> None:
    """Its account is gone by then, and a delivery does not look for bulk without a reason."""
    (first,) = await shop.put("a", bulk=True)
    await shop.join("w")
    await shop.join("v")
    await shop.take("w")
    await shop.put("b", 2 * EVERY)
    await _order_of(shop, "v")
    await shop.reject("w", first)
    await shop.put("b", 3)
    assert await _order_of(shop, "v") == ["b", "b", "b", "a"]
    assert not differences()


async def _order_of(shop: Shop, worker: str) -> list[str]:
    before = len(shop.given)
    while await shop.take(worker):
        await shop.finish_all(worker)
    return shop.given[before:]


@pytest.mark.real_redis("it has no MONITOR")
async def test_deliveries_look_for_bulk_only_while_there_may_be_some(
    shop: Shop, redis: "Redis", redis_url: str, key_prefix: str
) -> None:
    shares = f"{key_prefix}:{{svc}}:shares"
    await shop.join("w")
    # It stays, so that the lines stay open.
    await shop.put("b", 1)
    await shop.take("w")
    await shop.join("v")
    await shop.put("a", bulk=True)
    assert await redis.hget(shares, "bulk") == "1"
    assert await _order_of(shop, "v") == ["a"]
    async with Redis.from_url(redis_url) as other, other.monitor() as monitor:
        # The account of bulk goes when the others have used as much.
        for _ in range(50):
            await shop.put("c", 1)
            await _order_of(shop, "v")
        assert await redis.hget(shares, "bulk") is None
        await redis.ping()
        await shop.put("c", 3)
        await _order_of(shop, "v")
        await redis.ping()
        looks = []
        async for seen in monitor.listen():
            looks.append(seen["command"])
            if len([one for one in looks if one == "PING"]) == 2:
                break
    after = looks[looks.index("PING") :]
    assert any("ZADD" in command for command in after)
    assert not [command for command in after if "ZRANGEBYLEX" in command and "[~" in command]
