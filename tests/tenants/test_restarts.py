"""What is whose outlives the processes; what an older version has stored is the service's own."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from client_sdk.wire import names
from deploy.local.redis_server import RedisServer
from queue_service.store.keys import Keys
from tests.conftest import Serve, StartService
from tests.promises.peer import Peer
from tests.queue_service.web.jobs.api import TAKEN
from tests.running import TOKEN
from tests.tenants.conftest import Tenants
from tests.tenants.team import Team
from tests.tenants.test_shares import all_done_of, empty
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

SEP = "\x1f"


async def _put_same(*teams: Team) -> None:
    for team in teams:
        answer = await team.call("PUT", "/same", data=team.token_id.encode())
        assert answer.status in TAKEN, answer
        await team.put(team.token_id.encode(), "eas")


async def _is_isolated(*teams: Team) -> None:
    """Each sees its own two, wherever they are, and nothing else."""
    for team in teams:
        assert (await team.call("GET", "/same")).json["owner"] == team.token_id
        assert sorted(await team.listed()) == ["eas", "same"]


async def _have_own_results(*teams: Team) -> None:
    for team in teams:
        own = team.token_id.encode()
        assert (await team.call("GET", "/same/result")).body == own
        assert sorted(await team.frames()) == [("eas", own), ("same", own)]


def _at(team: Team, url: str) -> Team:
    """The same token at another replica."""
    return Team(team.session, url, team.token, team.token_id)


def _has_all(worker: Peer, count: int) -> Callable[[], bool]:
    return lambda: len(worker.held) == count


async def test_two_replicas_keep_teams_apart_and_so_does_one_whose_other_is_killed(
    start_service: StartService, session: aiohttp.ClientSession
) -> None:
    near, far = [
        await start_service({"name": "svc"}, result_retention_ms=3_600_000) for _ in range(2)
    ]
    own = Team(session, near.url, TOKEN)
    tenants = Tenants(own, await own.make(), await own.make())
    teams = (tenants.red, tenants.blue)
    away = (_at(tenants.red, far.url), _at(tenants.blue, far.url))

    async def is_known() -> bool:
        return {(await team.call("GET")).status for team in away} == {200}

    await wait_until(is_known, "the other replica knows the tokens")
    await _put_same(tenants.red, away[1])
    await _is_isolated(*teams, *away)
    worker = Peer(session, 4)
    await worker.connect(near.url)
    await wait_until(_has_all(worker, 4), "the worker has all")
    near.kill()
    await worker.cut()
    await worker.connect(far.url)
    await _is_isolated(*away)
    assert (await away[0].call("PUT", "/same", data=b"another")).status == 409
    await worker.complete(*list(worker.held))
    left = Tenants(_at(own, far.url), *away)
    await wait_until(all_done_of(left), "all are done")
    await _have_own_results(*away)
    await worker.cut()
    await empty(left)


async def test_a_redis_that_is_killed_keeps_teams_apart(
    start_service: StartService, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    redis = RedisServer(tmp_path / "redis", appendfsync="always")
    await redis.start()
    try:
        wanted: dict[str, object] = {"name": "svc"}
        service = await start_service(wanted, redis_url=redis.url, result_retention_ms=3_600_000)
        own = Team(session, service.url, TOKEN)
        tenants = Tenants(own, await own.make(), await own.make())
        teams = (tenants.red, tenants.blue)
        await _put_same(*teams)
        worker = Peer(session, 4)
        await worker.connect(service.url)
        await wait_until(_has_all(worker, 4), "the worker has all")
        await redis.kill()
        await redis.restart()
        service.kill()
        await worker.cut()
        service = await start_service(wanted, redis_url=redis.url, result_retention_ms=3_600_000)
        own = _at(own, service.url)
        teams = (_at(tenants.red, service.url), _at(tenants.blue, service.url))
        tenants = Tenants(own, *teams)
        await _is_isolated(*teams)
        await worker.connect(service.url)
        await worker.complete(*list(worker.held))
        await wait_until(all_done_of(tenants), "all are done")
        await _have_own_results(*teams)
        await worker.cut()
        await empty(tenants)
    finally:
        await redis.stop()


@pytest.fixture
def store_as_format_2(redis_url: str, key_prefix: str) -> Callable[[str], Awaitable[None]]:
    """Store what version 2 of the format has of two entries of a token: no name says whose."""

    async def store(token_id: str) -> None:
        keys = Keys(key_prefix, "svc")
        queue, shared = keys.queue("input"), keys.shared()
        lane, meta, request_ids = queue[0], queue[2], queue[3]
        async with Redis.from_url(redis_url) as redis:
            for index, name, tags in ((1, "eas", "{}"), (2, "job", '{"_ticket_": "-"}')):
                fields = {
                    "r": name, "t": tags, "a": 1_700_000_000_000, "d": f"old {name}", "p": "",
                    "c": "", "o": f"{token_id}:0",
                }  # fmt: skip
                await redis.xadd(lane, fields, id=f"{index}-0")  # type: ignore[arg-type]
                await redis.hset(request_ids, name, str(index))
                await redis.zadd(shared[4], {f"{token_id}{SEP}0{SEP}{index:020}": 0})
            await redis.hset(meta, mapping={"last": 2, "format": 2, "lined": 1})
            await redis.hset(shared[5], f"{SEP}{token_id}", "0 2 0 0 0 0")
            ticket = (
                '{"put_at":1700000000000,"keep_ms":3600000,"told_ms":3600000,"options":{},'
                '"digest":"d","lane":0}'
            )
            await redis.hset(shared[0], "job", ticket)

    return store


async def test_entries_from_before_owners_are_the_service_s_own_and_are_done(
    serve: Serve,
    session: aiohttp.ClientSession,
    store_as_format_2: Callable[[str], Awaitable[None]],
) -> None:
    own = Team(session, await serve({"name": "svc"}, result_retention_ms=3_600_000), TOKEN)
    tenants = Tenants(own, await own.make(), await own.make())
    await store_as_format_2(tenants.red.token_id)
    # Whichever token put them, only one that sees everything sees them now.
    for team in (tenants.red, tenants.blue):
        assert await team.listed() == []
        assert await team.number("") == 0
        assert (await team.call("GET", "/job")).status == 404
        assert (await team.call("POST", "/job/cancel")).status == 404
        await team.eas("DELETE", params={names.INDEXES: "1,2"})
    assert sorted(await own.listed()) == ["eas", "job"]
    assert (await own.call("GET", "/job")).json["owner"] is None
    # Their names are free, and beside them the new ones are done.
    for team in (tenants.red, tenants.blue):
        for name in ("eas", "job"):
            answer = await team.call("PUT", f"/{name}", data=team.token_id.encode())
            assert answer.status == 202, answer
    worker = await tenants.worker()
    await wait_until(all_done_of(tenants), "old and new ones are done")
    assert len(worker.handed) == 6
    for team in (tenants.red, tenants.blue):
        mine = team.token_id.encode()
        assert sorted(await team.frames()) == [("eas", mine), ("job", mine)]
    assert (await own.call("GET", "/job/result")).body == b"old job"
    await worker.cut()
    await empty(tenants)
