"""Whose entry a full queue drops that evicts: that of who has most, the new one counted."""

from collections import Counter

import pytest

from tests.tenants.conftest import Tenants
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


async def _lengths(tenants: Tenants, path: str = "") -> tuple[int, int, int]:
    """How many entries red, blue and the service's own token have."""
    red, blue = await tenants.red.number(path), await tenants.blue.number(path)
    return red, blue, await tenants.own.number(path) - red - blue


async def test_no_team_drops_what_a_smaller_one_has_where_none_has_most(small: Small) -> None:
    tenants = await small.tenants(input=EVICTS)
    green = await tenants.own.make()
    kept = await _put(green, 4)
    await _put(tenants.blue, 8)
    await _put(tenants.red, 8)
    for _ in range(2):
        await _put(tenants.red, CAPACITY)
        await _put(tenants.blue, CAPACITY)
        assert await _lengths(tenants) == (8, 8, 4)
    assert Counter(await green.listed()) == Counter(kept)
    await empty(tenants)


async def test_a_team_gets_as_many_places_as_the_one_that_was_first(small: Small) -> None:
    tenants = await small.tenants(input=EVICTS)
    await _put(tenants.red, CAPACITY)
    mine = await _put(tenants.blue, CAPACITY // 2)
    assert await _lengths(tenants) == (10, 10, 0)
    assert Counter(await tenants.blue.listed(state="queued")) == Counter(mine)
    # Its own oldest makes room for what is beyond that.
    mine += await _put(tenants.blue, 3)
    assert await _lengths(tenants) == (10, 10, 0)
    assert Counter(await tenants.blue.listed(state="queued")) == Counter(mine[3:])
    await empty(tenants)


async def test_the_service_s_own_token_is_one_more_owner(small: Small) -> None:
    tenants = await small.tenants(input=EVICTS)
    await _put(tenants.red, CAPACITY // 2)
    for _ in range(3 * CAPACITY):
        await tenants.own.put(b"own")
    assert await _lengths(tenants) == (10, 0, 10)
    for _ in range(3 * CAPACITY):
        await tenants.blue.put(b"blue")
    red, blue, own = await _lengths(tenants)
    assert red + blue + own == CAPACITY
    assert max(red, blue, own) - min(red, blue, own) <= 2
    await empty(tenants)


async def test_the_oldest_goes_where_all_is_the_service_s_own(small: Small) -> None:
    tenants = await small.tenants(input=EVICTS)
    for number in range(CAPACITY + 5):
        await tenants.own.put(b"own", f"id-{number}")
    shown = [request_id for request_id, _ in await tenants.own.frames("")]
    assert shown == [f"id-{number}" for number in range(5, CAPACITY + 5)]
    # Also once teams have been there.
    await _put(tenants.red, 1)
    await tenants.red.eas("DELETE", "?_trunc_=true&_index_=1000000")
    for number in range(2):
        await tenants.own.put(b"own", f"more-{number}")
    shown = [request_id for request_id, _ in await tenants.own.frames("")]
    assert shown == [f"id-{number}" for number in range(7, CAPACITY + 5)] + ["more-0", "more-1"]
    await empty(tenants)


async def test_jobs_that_wait_for_their_time_count_for_their_team(small: Small) -> None:
    tenants = await small.tenants(input=EVICTS)
    kept = await _put(tenants.blue, 2)
    later = {"not_before": "1h"}
    for _ in range(CAPACITY - 2):
        answer = await tenants.red.call("POST", data=b"x", params=later)
        assert answer.status == 202
    # Its own cannot go, and what a smaller team has does not.
    assert (await tenants.red.call("POST", data=b"x")).status == 503
    assert Counter(await tenants.blue.listed(state="queued")) == Counter(kept)
    for job in await tenants.red.listed():
        await tenants.red.call("POST", f"/{job}/cancel")
    await empty(tenants)


async def test_results_of_three_teams_share_a_sink_that_evicts(small: Small) -> None:
    tenants = await small.tenants(sink=EVICTS)
    worker = await tenants.worker()
    green = await tenants.own.make()
    for team, count in ((green, 4), (tenants.blue, 8), (tenants.red, 3 * CAPACITY)):
        for _ in range(count):
            await _put(team, 1)
            await wait_until(all_done_of(tenants), "nothing waits")
    assert await green.number("/sink") == 4
    assert (await tenants.red.number("/sink"), await tenants.blue.number("/sink")) == (8, 8)
    await worker.cut()
    await empty(tenants)
