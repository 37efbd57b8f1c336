"""Whose entry a full queue drops that evicts: that of who has most, the new one counted."""

from collections import Counter

import pytest

from tests.tenants.conftest import House
from tests.tenants.team import Team
from tests.tenants.test_shares import CAPACITY, Small, all_done_of, empty, small
from tests.waiting import wait_until

__all__ = ["small"]

pytestmark = pytest.mark.leaves_entries

#: How each queue of these tests is.
EVICTS = {"max_length": CAPACITY, "auto_evict": True}


async def _put(team: Team, count: int, word: str = "x") -> list[str]:
    """Put jobs; return their ids."""
    found = []
    for _ in range(count):
        answer = await team.call("POST", data=word.encode())
        assert answer.status in (200, 202), answer
        found.append(answer.json["id"])
    return found


async def _lengths(house: House, path: str = "") -> tuple[int, int, int]:
    """How many entries red, blue and the service's own token have."""
    red, blue = await house.red.number(path), await house.blue.number(path)
    return red, blue, await house.own.number(path) - red - blue


async def test_no_team_drops_what_a_smaller_one_has_where_none_has_most(small: Small) -> None:
    house = await small.house(input=EVICTS)
    green = await house.own.make()
    kept = await _put(green, 4)
    await _put(house.blue, 8)
    await _put(house.red, 8)
    for _ in range(2):
        await _put(house.red, CAPACITY)
        await _put(house.blue, CAPACITY)
        assert await _lengths(house) == (8, 8, 4)
    assert Counter(await green.listed()) == Counter(kept)
    await empty(house)


async def test_a_team_gets_as_many_places_as_the_one_that_was_first(small: Small) -> None:
    house = await small.house(input=EVICTS)
    await _put(house.red, CAPACITY)
    mine = await _put(house.blue, CAPACITY // 2)
    assert await _lengths(house) == (10, 10, 0)
    assert Counter(await house.blue.listed(state="queued")) == Counter(mine)
    # Its own oldest makes room for what is beyond that.
    mine += await _put(house.blue, 3)
    assert await _lengths(house) == (10, 10, 0)
    assert Counter(await house.blue.listed(state="queued")) == Counter(mine[3:])
    await empty(house)


async def test_the_service_s_own_token_is_one_more_owner(small: Small) -> None:
    house = await small.house(input=EVICTS)
    await _put(house.red, CAPACITY // 2)
    for _ in range(3 * CAPACITY):
        await house.own.put(b"own")
    assert await _lengths(house) == (10, 0, 10)
    for _ in range(3 * CAPACITY):
        await house.blue.put(b"blue")
    red, blue, own = await _lengths(house)
    assert red + blue + own == CAPACITY
    assert max(red, blue, own) - min(red, blue, own) <= 2
    await empty(house)


async def test_the_oldest_goes_where_all_is_the_service_s_own(small: Small) -> None:
    house = await small.house(input=EVICTS)
    for number in range(CAPACITY + 5):
        await house.own.put(b"own", f"id-{number}")
    shown = [request_id for request_id, _ in await house.own.frames("")]
    assert shown == [f"id-{number}" for number in range(5, CAPACITY + 5)]
    # Also once teams have been there.
    await _put(house.red, 1)
    await house.red.eas("DELETE", "?_trunc_=true&_index_=1000000")
    for number in range(2):
        await house.own.put(b"own", f"more-{number}")
    shown = [request_id for request_id, _ in await house.own.frames("")]
    assert shown == [f"id-{number}" for number in range(7, CAPACITY + 5)] + ["more-0", "more-1"]
    await empty(house)


async def test_jobs_that_wait_for_their_time_count_for_their_team(small: Small) -> None:
    house = await small.house(input=EVICTS)
    kept = await _put(house.blue, 2)
    later = {"not_before": "1h"}
    for _ in range(CAPACITY - 2):
        answer = await house.red.call("POST", data=b"x", params=later)
        assert answer.status == 202
    # Its own cannot go, and what a smaller team has does not.
    assert (await house.red.call("POST", data=b"x")).status == 503
    assert Counter(await house.blue.listed(state="queued")) == Counter(kept)
    for job in await house.red.listed():
        await house.red.call("POST", f"/{job}/cancel")
    await empty(house)


async def test_results_of_three_teams_share_a_sink_that_evicts(small: Small) -> None:
    house = await small.house(sink=EVICTS)
    worker = await house.worker()
    green = await house.own.make()
    for team, count in ((green, 4), (house.blue, 8), (house.red, 3 * CAPACITY)):
        for _ in range(count):
            await _put(team, 1)
            await wait_until(all_done_of(house), "nothing waits")
    assert await green.number("/sink") == 4
    assert (await house.red.number("/sink"), await house.blue.number("/sink")) == (8, 8)
    await worker.cut()
    await empty(house)
