"""What an evicting queue drops: as much as it must, and of a lowered capacity a bounded part."""

import aiohttp
import pytest

from client_sdk.wire.codes import Code
from tests.queue_service.service.replica import TOKEN, Replica

CAPACITY = 5
#: Dropped at most by one put beyond the one whose place it takes.
BEYOND = 100


async def _give(replica: Replica, limits: dict[str, object]) -> None:
    said = await replica.admin("PUT", "/new", {"token": TOKEN, "input": limits, "sink": limits})
    assert said.status == 200, said


@pytest.mark.parametrize("queue", ["new", "new/sink"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CAPACITY - 1, [5, 5]),
        (CAPACITY, [5, 5]),
        (CAPACITY + BEYOND, [5, 5]),
        (CAPACITY + BEYOND + 1, [6, 5, 5]),
        (CAPACITY + 2 * BEYOND + 30, [135, 35, 5, 5]),
    ],
)
async def test_a_capacity_that_was_lowered_is_reached_soon_and_by_bounded_calls(
    alone: Replica, queue: str, before: int, after: list[int]
) -> None:
    await _give(alone, {"max_length": 1000})
    for number in range(before):
        assert (await alone.client("POST", queue, b"%d" % number)).status == 200
    await _give(alone, {"max_length": CAPACITY, "auto_evict": True})
    lengths = []
    for number in range(len(after)):
        assert (await alone.client("POST", queue, b"new %d" % number)).status == 200
        lengths.append(await alone.length(queue))
    assert lengths == after
    newest = await alone.client("GET", queue, _index_="-1", _auto_delete_="false")
    assert newest.body == b"new %d" % (len(after) - 1)


async def test_jobs_that_wait_for_their_time_are_not_dropped_and_can_fill_it(
    alone: Replica, session: aiohttp.ClientSession
) -> None:
    await _give(alone, {"max_length": CAPACITY, "auto_evict": True})
    jobs = f"{alone.url}/v1/services/new/jobs"
    told = {"Authorization": TOKEN}
    for expected in [202] * CAPACITY + [503]:
        async with session.post(
            jobs, data=b"later", params={"not_before": "1h"}, headers=told
        ) as answer:
            assert answer.status == expected, await answer.text()
    full = await alone.client("POST", "new", b"now")
    assert (full.status, full.code) == (429, Code.QUEUE_FULL)
