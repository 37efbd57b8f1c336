"""Walks over a long queue: each is cut into slices, and one slice at a time goes to Redis."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from redis.asyncio import Redis

from client_sdk.wire import names
from queue_service.store.slices import Slices
from tests.conftest import Serve
from tests.running import TOKEN

#: Waiting entries, and the most commands of one script call: some for each of a hundred entries
#: that are removed, fewer for those that are only looked at.
ENTRIES = 2000
MOST_COMMANDS = 1500
#: Entries that a call asks for at most, in both lanes together.
MOST_READ = 900

LISTED = names.JOBS_PATH.format(service="svc")
QUEUE = f"{names.EAS_PREFIX}/svc"


@pytest.fixture
async def session(serve: Serve) -> AsyncIterator[aiohttp.ClientSession]:
    url = await serve({"name": "svc"})
    async with aiohttp.ClientSession(url, headers={"Authorization": TOKEN}) as session:
        yield session
        everything = {names.TRUNCATE: "true", names.INDEX: str(2**62)}
        await session.delete(QUEUE, params=everything)


async def _fill(session: aiohttp.ClientSession) -> None:
    async def put(number: int) -> None:
        async with session.post(f"{QUEUE}?n={number}", data=b"x") as answer:
            assert answer.status == 200

    for first in range(0, ENTRIES, 200):
        await asyncio.gather(*(put(number) for number in range(first, first + 200)))


async def _longest_calls(redis_url: str, *walks: "asyncio.Task[object]") -> tuple[int, int]:
    """The most commands of one script call while these run, and the most entries it asked for."""
    most_commands = most_read = commands = read = 0
    async with Redis.from_url(redis_url) as redis, redis.monitor() as monitor:

        async def end() -> None:
            await asyncio.gather(*walks)
            await redis.publish("walks", "ended")

        ended = asyncio.create_task(end())
        async for seen in monitor.listen():
            command = seen["command"]
            if command.startswith("PUBLISH walks"):
                break
            if seen["client_type"] != "lua":
                commands = read = 0
                continue
            commands += 1
            if "COUNT" in command and command.startswith(("XRANGE", "XREVRANGE")):
                read += int(command.split()[-1])
            most_commands, most_read = max(most_commands, commands), max(most_read, read)
        await ended
    return most_commands, most_read


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", f"{QUEUE}?_count_=true&n=no"),
        ("GET", f"{QUEUE}?n=no"),
        ("GET", f"{QUEUE}?n=no&_index_=-1"),
        ("GET", f"{QUEUE}?_length_=2000&_raw_=false&_auto_delete_=true"),
        ("GET", f"{LISTED}?limit=1000"),
        ("GET", f"{LISTED}?state=running"),
        ("DELETE", f"{QUEUE}?_indexes_={','.join(map(str, range(1, 1500)))}"),
        ("DELETE", f"{QUEUE}?_trunc_=true&_index_={ENTRIES}"),
        ("POST", f"{QUEUE}?_eos_=true&_force_=true"),
    ],
    ids=["count", "get", "newest", "read all", "jobs", "running", "delete", "truncate", "end"],
)
async def test_no_call_of_a_walk_does_much_at_once(
    session: aiohttp.ClientSession, redis_url: str, method: str, target: str
) -> None:
    await _fill(session)

    async def walk() -> object:
        async with session.request(method, target) as answer:
            assert answer.status in {200, 204}, await answer.text()
            return await answer.read()

    walks = [asyncio.create_task(walk()) for _ in range(4)]
    most_commands, most_read = await _longest_calls(redis_url, *walks)
    assert 0 < most_commands < MOST_COMMANDS
    assert most_read <= MOST_READ


async def test_a_read_of_everything_gives_everything_in_its_order(
    session: aiohttp.ClientSession,
) -> None:
    await _fill(session)
    query = f"{QUEUE}?_length_=10000&_raw_=false&_auto_delete_=false"
    async with session.get(query) as answer:
        indexes = [entry["index"] for entry in await answer.json()]
    assert indexes == list(range(1, ENTRIES + 1))
    async with session.get(f"{QUEUE}?_count_=true&n=1999") as answer:
        assert await answer.text() == "1"


async def test_one_walk_at_a_time_sends_a_slice_and_services_take_turns() -> None:
    slices, running, turns = Slices(), 0, list[str]()

    async def walk(service: str) -> None:
        nonlocal running
        for _ in range(5):
            async with slices.turn(service):
                running += 1
                assert running == 1
                turns.append(service)
                await asyncio.to_thread(int)
                running -= 1

    await asyncio.gather(*(walk("attacked") for _ in range(16)), walk("other"))
    # Sixteen walks of one service are one beside the walk of another.
    assert max(position for position, name in enumerate(turns) if name == "other") < 12
