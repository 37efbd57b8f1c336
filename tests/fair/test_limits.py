"""What one token may have: how fast, how many waiting, how many at once."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from queue_service.service.access import Scope, Token, TokenLimits, WantedToken, putter_of
from tests.fair.shop import Shop
from tests.waiting import wait_until

Differences = Callable[[], list[str]]


def test_a_token_without_limits_may_have_anything() -> None:
    token, _ = Token.make(WantedToken(scopes=frozenset({Scope.SUBMIT})), now_ms=0)
    putter = putter_of(token)
    assert (putter.in_line, putter.running, putter.rate_per_s) == (0, 0, 0)


def test_only_a_token_with_the_right_goes_before_others() -> None:
    for scopes, urgent in (({Scope.SUBMIT}, False), ({Scope.SUBMIT, Scope.PRIORITY}, True)):
        token, _ = Token.make(WantedToken(scopes=frozenset(scopes)), now_ms=0)
        assert putter_of(token).urgent is urgent


def test_the_record_of_a_token_from_before_limits_is_read() -> None:
    wanted = WantedToken(scopes=frozenset({Scope.SUBMIT}), limits=TokenLimits(in_line=5))
    token, _ = Token.make(wanted, now_ms=0)
    assert Token.model_validate_json(token.model_dump_json()) == token
    assert (
        Token.model_validate_json(token.model_dump_json(exclude={"limits"})).limits.in_line is None
    )


@pytest.mark.parametrize(
    ("limits", "burst"),
    [({"rate_per_s": 0.5}, 1), ({"rate_per_s": 10}, 10), ({"rate_per_s": 10, "burst": 3}, 3)],
)
def test_by_default_the_puts_of_one_second_may_come_at_once(
    limits: dict[str, float], burst: int
) -> None:
    assert TokenLimits.model_validate(limits).burst_of() == burst


@pytest.mark.parametrize(
    "limits",
    [{"rate_per_s": 0}, {"in_line": 0}, {"running": -1}, {"burst": 5}, {"rate_per_s": "NaN"}],
)
def test_limits_that_mean_nothing_are_refused(limits: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TokenLimits.model_validate(limits)


async def test_more_waiting_than_a_token_may_have_are_refused_until_some_are_out(
    shop: Shop, differences: Differences
) -> None:
    await shop.put("a", 3, in_line=3)
    refusal = await shop.refused("a", in_line=3)
    assert (refusal.quota, refusal.count, refusal.wait_ms) == ("in_line", 3, None)
    assert await shop.submit("a", in_line=3) == "in_line"
    await shop.put("b", 1, in_line=3)
    await shop.put("", 5)
    await shop.join("w")
    await shop.take("w")
    while shop.given[-1] != "a":
        await shop.finish("w")
        await shop.take("w")
    # One is at a worker, and no longer waits.
    await shop.put("a", 1, in_line=3)
    await shop.refused("a", in_line=3)
    assert not differences()


async def test_what_is_not_before_its_time_counts_as_waiting(
    shop: Shop, differences: Differences
) -> None:
    first = await shop.submit("a", begin_ms=2**42, in_line=2)
    await shop.submit("a", begin_ms=int(time.time() * 1000) + 100, in_line=2)
    assert await shop.submit("a", begin_ms=2**42, in_line=2) == "in_line"
    await shop.join("w")

    async def is_there() -> bool:
        await shop.tickets.due()
        return len(await shop.take("w")) == 1

    await wait_until(is_there, "the second is in line")
    await shop.submit("a", in_line=2)
    assert await shop.submit("a", in_line=2) == "in_line"
    await shop.cancel(first)
    await shop.submit("a", in_line=2)
    assert not differences()


async def test_a_token_has_no_more_running_than_it_may_and_the_rest_goes_to_others(
    shop: Shop, differences: Differences
) -> None:
    await shop.put("a", 6, running=2)
    await shop.put("b", 3)
    await shop.join("v", 4)
    await shop.join("w", 4)
    await shop.take("v", "w")
    assert Counter(shop.given) == {"a": 2, "b": 3}
    assert not await shop.take("v", "w")
    # One that came back counts as soon as it is out again.
    uid = "v" if "a" in {shop.owner_of[index] for index in shop.held["v"]} else "w"
    index = next(index for index in shop.held[uid] if shop.owner_of[index] == "a")
    assert await shop.reject(uid, index)
    shop.given.clear()
    await shop.take("v", "w")
    assert shop.given == ["a"]
    assert not await shop.take("v", "w")
    for worker in ("v", "w"):
        await shop.finish(worker)
    await shop.work_off("v", "w")
    assert not differences()


async def test_a_crashed_worker_s_entries_go_out_again_within_the_limit(shop: Shop) -> None:
    await shop.put("a", 6, running=3)
    await shop.join("v", 6)
    await shop.join("w", 6)
    await shop.take("v")
    await shop.take("w")
    assert len(shop.held["v"]) + len(shop.held["w"]) == 3
    await shop.leave("v")
    await shop.take("w")
    assert len(shop.held["w"]) == 3
    await shop.finish("w")
    await shop.work_off("w")
    assert not await shop.take("w")


async def test_puts_beyond_the_rate_are_refused_with_the_time_until_there_is_room(
    shop: Shop,
) -> None:
    limits: dict[str, Any] = {"rate_per_s": 0.01, "burst": 2}
    await shop.put("a", 2, **limits)
    refusal = await shop.refused("a", **limits)
    assert refusal.quota == "rate"
    assert refusal.wait_ms is not None
    assert 90_000 < refusal.wait_ms <= 100_000
    assert await shop.submit("a", **limits) == "rate"
    # Another token has a rate of its own, and a lower one is not held against what was.
    await shop.put("b", 2, **limits)


async def test_an_allowance_comes_back_with_time(shop: Shop) -> None:
    limits: dict[str, Any] = {"rate_per_s": 1, "burst": 1}
    await shop.put("a", 1, **limits)
    await shop.refused("a", **limits)

    async def is_taken() -> bool:
        return await shop.submit("a", **limits) != "rate"

    await wait_until(is_taken, "there is room again")


async def test_what_waits_for_another_attempt_counts_as_waiting(
    shop: Shop, differences: Differences
) -> None:
    await shop.join("v", 3)
    await shop.join("w", 3)
    indexes = await shop.put("a", 3, in_line=3)
    await shop.take("v", "w")
    for uid in ("v", "w"):
        for index in list(shop.held[uid]):
            await shop.reject(uid, index, pause_ms=3_600_000)
    # A job that fails would else make room for the next one, which fails too, up to the capacity.
    refusal = await shop.refused("a", in_line=3)
    assert (refusal.quota, refusal.count) == ("in_line", 3)
    assert await shop.submit("a", in_line=3) == "in_line"
    await shop.put("b", 1, in_line=3)
    await shop.store.delete(indexes[:1])
    await shop.put("a", 1, in_line=3)
    await shop.refused("a", in_line=3)
    assert not differences()


async def test_what_comes_back_alone_keeps_to_the_limit_of_running(
    shop: Shop, differences: Differences
) -> None:
    await shop.join("v", 1)
    await shop.join("w", 4)
    for _ in await shop.put("a", 3, running=1):
        (delivery,) = await shop.take("v")
        await shop.reject("v", delivery.entry.index, pause_ms=1)
    due = 0

    async def are_due() -> bool:
        nonlocal due
        due += (await shop.tickets.due()).done
        return due == 3

    # Nothing else waits: only what came back shows that there is still a limit to keep.
    await wait_until(are_due, "all pauses are over")
    assert len(await shop.take("w")) == 1
    assert not await shop.take("w")
    assert not differences()
