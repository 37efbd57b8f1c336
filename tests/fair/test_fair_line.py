"""Whose turn it is, when several tokens put into one service."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from queue_service.store.dead_letters import Choice
from queue_service.store.rules import Limits
from queue_service.store.ticket import Canceled
from tests.fair.shop import SERVICE, Shop

Differences = Callable[[], list[str]]


async def test_ten_entries_are_done_beside_the_first_ones_of_a_thousand(shop: Shop) -> None:
    await shop.put("many", 1000)
    await shop.put("few", 10)
    await shop.join("w")
    # Twenty, were all runs equally long.  Owners take turns by time, and of these runs of a
    # millisecond one may take ten.
    for _ in range(100):
        await shop.take("w")
        await shop.finish("w")
    assert Counter(shop.given)["few"] == 10, shop.given


@pytest.mark.real_redis("ten thousand puts take it ten seconds")
async def test_behind_ten_thousand_of_one_owner_the_entry_of_another_is_next(shop: Shop) -> None:
    await shop.join("w", 4)
    await shop.put("many", 10_000)
    await shop.take("w")
    (index,) = await shop.put("one")
    place = await shop.store.search(SERVICE, index, workers_gid=SERVICE)
    assert place is not None
    assert place.ahead == 0
    await shop.finish("w", min(shop.held["w"]))
    await shop.take("w")
    assert shop.given[-1] == "one"


async def test_an_owner_alone_has_every_worker(shop: Shop) -> None:
    await shop.put("alone", 8)
    await shop.join("w", 8)
    assert len(await shop.take("w")) == 8


async def test_an_owner_that_comes_back_has_saved_nothing_up(shop: Shop) -> None:
    await shop.join("w")
    await shop.put("early", 1)
    await shop.work_off("w")
    await shop.put("steady", 60)
    for _ in range(40):
        await shop.take("w")
        await shop.finish("w")
    await shop.put("early", 20)
    shop.given.clear()
    for _ in range(20):
        await shop.take("w")
        await shop.finish("w")
    assert 6 <= Counter(shop.given)["early"] <= 14, shop.given


async def test_what_runs_counts_from_its_beginning(shop: Shop) -> None:
    await shop.put("a", 20)
    await shop.put("b", 20)
    await shop.put("c", 20)
    await shop.join("w", 12)
    await shop.take("w")
    assert Counter(shop.given) == {"a": 4, "b": 4, "c": 4}


async def test_the_service_s_own_token_is_one_owner_among_others(shop: Shop) -> None:
    await shop.put("", 20)
    await shop.put("a", 20)
    await shop.put("", 20)
    await shop.join("w", 10)
    await shop.take("w")
    assert Counter(shop.given) == {"": 5, "a": 5}
    await shop.finish("w")
    await shop.work_off("w")
    assert Counter(shop.given) == {"": 40, "a": 20}


async def test_higher_priority_goes_first_for_every_owner(shop: Shop) -> None:
    await shop.put("a", 3)
    urgent = await shop.put("b", 4, priority=1, urgent=True)
    own = await shop.put("", 1, priority=1)
    await shop.put("c", 3)
    await shop.join("w", 5)
    assert sorted(item.entry.index for item in await shop.take("w")) == urgent + own


async def test_a_priority_without_the_right_goes_before_the_owner_s_own_entries_alone(
    shop: Shop, differences: Differences
) -> None:
    await shop.put("a", 10)
    urgent = await shop.put("a", 10, priority=1)
    await shop.put("b", 10)
    await shop.put("", 10)
    await shop.join("w", 9)
    taken = [item.entry.index for item in await shop.take("w")]
    assert Counter(shop.given) == {"a": 3, "b": 3, "": 3}
    assert set(taken) & set(urgent) == set(urgent[:3]), "of its own they go first"
    await shop.finish("w")
    await shop.work_off("w")
    assert Counter(shop.given) == {"a": 20, "b": 10, "": 10}
    assert not differences()


@pytest.mark.parametrize("fair", [True, False])
@pytest.mark.parametrize("limits", [{}, {"running": 5}, {"in_line": 1000}])
async def test_one_token_s_priority_starves_nobody(
    shop: Shop, fair: bool, limits: dict[str, Any], differences: Differences
) -> None:
    shop.change(fair=fair)
    (mine,) = await shop.put("b")
    await shop.put("a", 50, priority=1, **limits)
    await shop.join("w")
    for _ in range(4):
        await shop.take("w")
        if mine in shop.held["w"]:
            break
        await shop.finish("w")
    assert "b" in shop.given
    await shop.work_off("w")
    assert not differences()


async def test_what_is_replayed_is_in_its_owner_s_line_again(shop: Shop) -> None:
    shop.change(max_delivery=1, dead_message_policy="Park")
    await shop.put("a", 3, running=1)
    for _ in range(3):
        await shop.join("v")
        assert len(await shop.take("v")) == 1
        await shop.leave("v")
    replayed = await shop.store.dead_letters.replay(Choice(), most=10)
    assert len(replayed.replayed) == 3
    await shop.join("w", 3)
    assert len(await shop.take("w")) == 1, "its owner may have one at once"
    await shop.finish("w")
    await shop.work_off("w")


async def test_a_right_to_priority_outlives_a_dead_letter(shop: Shop) -> None:
    shop.change(max_delivery=1, dead_message_policy="Park")
    await shop.put("a", 1, priority=1, urgent=True)
    await shop.put("c", 1, priority=1)
    await shop.join("v", 2)
    await shop.take("v")
    await shop.leave("v")
    await shop.put("b", 3)
    replayed = await shop.store.dead_letters.replay(Choice(), most=10)
    moved = {old: new for old, new, _ in replayed.replayed}
    await shop.join("w")
    (first,) = await shop.take("w")
    assert first.entry.index == moved[1]
    await shop.finish("w")
    await shop.work_off("w")


async def test_with_the_setting_off_the_entry_that_waits_longest_is_next(shop: Shop) -> None:
    await shop.put("many", 5)
    await shop.put("", 2)
    await shop.put("one")
    await shop.put("", 1)
    shop.change(fair=False)
    await shop.put("many", 1)
    await shop.join("w", 4)
    taken = [item.entry.index for item in await shop.take("w")]
    await shop.finish("w")
    while more := await shop.take("w"):
        taken += [item.entry.index for item in more]
        await shop.finish("w")
    assert taken == sorted(taken)
    assert len(taken) == 10


async def test_a_place_falls_to_nothing_as_the_line_moves(shop: Shop) -> None:
    await shop.join("w")
    await shop.put("a", 6)
    await shop.put("b", 6)
    watched = (await shop.put("a"))[0]
    await shop.put("a", 3)
    seen = []
    while watched not in shop.held["w"]:
        place = await shop.store.search(SERVICE, watched, workers_gid=SERVICE)
        assert place is not None
        seen.append(place.ahead)
        await shop.finish("w")
        await shop.take("w")
    assert seen[0] == 12
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 0


@pytest.mark.parametrize("before", [0, 3])
async def test_lines_close_with_the_last_entry_and_leave_nothing(
    shop: Shop, redis: "Redis", before: int, differences: Differences, key_prefix: str
) -> None:
    await shop.join("w", 2)
    await shop.put("", before)
    await shop.put("a", 3)
    await shop.put("b", 1)
    await shop.work_off("w")
    assert not differences()
    for name in ("lines", "shares", "running"):
        assert not await redis.exists(f"{key_prefix}:{{svc}}:{name}")
    await shop.put("", 5)
    await shop.work_off("w")
    assert Counter(shop.given) == Counter({"": before + 5, "a": 3, "b": 1}) - Counter()


@pytest.mark.real_redis("it has no MONITOR")
async def test_the_service_s_own_token_alone_costs_no_look_at_lines(
    shop: Shop, redis: "Redis", redis_url: str, key_prefix: str
) -> None:
    await shop.join("w", 4)
    async with Redis.from_url(redis_url) as other, other.monitor() as monitor:
        await shop.put("", 4)
        await shop.put("", 1, priority=1)
        await shop.work_off("w")
        await redis.ping()
        commands = []
        async for seen in monitor.listen():
            if seen["command"] == "PING":
                break
            commands.append(seen["command"])
    touched = [f"{{svc}}:{name}" for name in ("lines", "shares", "running")]
    assert any("XADD" in command for command in commands)
    assert not [
        command
        for command in commands
        if not command.startswith("EVAL") and any(name in command for name in touched)
    ]
    assert await redis.hget(f"{key_prefix}:{{svc}}:input:meta", "format") == "1"
    await shop.put("a")
    assert await redis.hget(f"{key_prefix}:{{svc}}:input:meta", "format") == "2"


async def test_what_goes_while_it_waits_leaves_its_line(
    shop: Shop, differences: Differences
) -> None:
    await shop.join("w")
    first = await shop.put("a", 4)
    second = await shop.put("b", 4)
    assert await shop.store.delete([first[1], second[3]]) == 2
    request = await shop.submit("a")
    later = await shop.submit("b", begin_ms=2**42)
    assert await shop.cancel(request) is Canceled.CANCELED
    assert await shop.cancel(later) is Canceled.CANCELED
    assert await shop.store.truncate(second[1]) == 4
    assert await shop.store.end_stream(ended=True, drop=True) == 2
    assert not differences()
    assert not await shop.take("w")
    await shop.store.end_stream(ended=False, drop=False)


async def test_a_full_queue_that_evicts_takes_the_oldest_out_of_its_line(
    shop: Shop, differences: Differences
) -> None:
    shop.change(limits=Limits(5, 1_000_000), evicts=True)
    await shop.put("a", 5)
    kept = await shop.put("b", 3)
    assert not differences()
    await shop.join("w", 10)
    assert {item.entry.index for item in await shop.take("w")} == {4, 5, *kept}


async def test_a_group_that_reads_along_sees_everything_in_its_order(
    shop: Shop, differences: Differences
) -> None:
    await shop.join("w")
    await shop.join("r", 100, gid="readers", resident=False)
    await shop.put("a", 5)
    await shop.put("b", 2)
    read = [item.entry.index for item in await shop.take("r", gid="readers")]
    assert read == list(range(1, 8))
    for index in read[:4]:
        await shop.store.commit(("readers", "r", index))
    await shop.work_off("w")
    assert Counter(shop.given) == {"a": 5, "b": 2}
    # The workers' own group may commit what nobody of it has had.
    index = (await shop.put("a"))[0]
    assert await shop.store.commit((SERVICE, "w", index)) == "committed"
    assert not await shop.take("w")
    assert not differences()


async def test_workers_with_filters_share_a_fair_line(shop: Shop, differences: Differences) -> None:
    await shop.put("a", 3, tag="x")
    await shop.put("b", 3, tag="y")
    await shop.put("a", 2, tag="y")
    await shop.join("x", 10, tag="x")
    await shop.join("y", 10, tag="y")
    # What one passes over waits for the other.
    for _ in range(3):
        await shop.take("x", "y")
    assert sorted(shop.held["x"]) == [1, 2, 3]
    assert sorted(shop.held["y"]) == [4, 5, 6, 7, 8]
    assert not differences()


@pytest.mark.parametrize(("policy", "given"), [("Rear", 9), ("Park", 6), ("Drop", 6)])
async def test_what_its_workers_lose_ends_by_the_policy(
    shop: Shop, policy: str, given: int, differences: Differences
) -> None:
    shop.change(max_delivery=2, dead_message_policy=policy)
    await shop.put("a", 2)
    await shop.put("b", 1)
    for number in range(2):
        await shop.join(f"w{number}", 3)
        await shop.take(f"w{number}")
        assert not differences()
        await shop.leave(f"w{number}")
        assert not differences()
    await shop.join("w", 3)
    await shop.work_off("w")
    assert len(shop.given) == given
    assert not differences()
    await shop.store.dead_letters.purge(Choice(), most=100)


async def test_jobs_that_fail_do_not_go_before_those_of_others(
    shop: Shop, differences: Differences
) -> None:
    await shop.join("w", 1)
    await shop.join("v", 1)
    await shop.put("fails", 20)
    await shop.put("works", 20)
    worker = "w"
    while Counter(shop.given)["works"] < 20:
        for delivery in await shop.take(worker):
            if shop.owner_of[delivery.entry.index] == "fails":
                await shop.reject(worker, delivery.entry.index)
            else:
                await shop.finish(worker)
        worker = "v" if worker == "w" else "w"
    # Each has had about half of the attempts, and not each of "works" after all of "fails".
    assert Counter(shop.given)["fails"] < 40, shop.given
    assert not differences()


@pytest.mark.parametrize("how", ["rejected", "answered", "deleted"])
async def test_an_owner_pays_for_runs_that_are_broken_off(shop: Shop, how: str) -> None:
    await shop.put("quick", 200)
    await shop.put("steady", 10)
    await shop.join("w")
    while Counter(shop.given)["steady"] < 10:
        ((index, _),) = ((one.entry.index, one) for one in await shop.take("w"))
        if shop.owner_of[index] == "steady":
            # As long as everybody's runs here: no time at all.
            await shop.finish("w")
        elif how == "rejected":
            await shop.reject("w", index, type="timeout", pause_ms=60_000)
        elif how == "answered":
            await shop.fail("w", index, "timeout")
        else:
            del shop.held["w"][index]
            assert await shop.store.delete([index]) == 1
    assert Counter(shop.given)["quick"] <= 2, shop.given


async def test_what_failed_goes_first_among_its_owner_s_own(shop: Shop) -> None:
    await shop.join("w", 1)
    await shop.join("v", 1)
    first, *_ = await shop.put("a", 3)
    await shop.take("w")
    await shop.reject("w", first)
    (again,) = await shop.take("v")
    assert again.entry.index == first
