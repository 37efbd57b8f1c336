"""What one owner may have at most, so that memory and time are left for the others."""

import time

import aiohttp
import pytest
from redis.asyncio import Redis

from client_sdk.wire import names
from client_sdk.wire.worker import Rejection, Rejections
from queue_service.store.keys import Keys
from queue_service.store.owners import OWNED
from tests.promises.peer import Peer
from tests.queue_service.web.jobs.api import TAKEN
from tests.tenants.conftest import Tenants
from tests.tenants.team import SCOPES, Team
from tests.tenants.test_shares import MOST, Small, all_done_of, empty, small
from tests.waiting import wait_until

__all__ = ["small"]

pytestmark = pytest.mark.leaves_entries

SEP = "\x1f"
#: Ended jobs and idempotency keys of one owner that are remembered for their whole time.
MOST_REMEMBERED = 100_000
#: For how long a key is kept at least, in ms.
LEAST_KEPT_MS = 5 * 60 * 1000


@pytest.fixture
def keys(key_prefix: str) -> Keys:
    return Keys(key_prefix, "svc")


async def _two_tokens(tenants: Tenants, **limits: int) -> tuple[Team, Team]:
    wish = {"owner": "team", "limits": limits}
    return await tenants.own.make(*SCOPES, **wish), await tenants.own.make(*SCOPES, **wish)


async def test_two_tokens_of_an_owner_have_one_limit_of_waiting_entries(tenants: Tenants) -> None:
    first, second = await _two_tokens(tenants, in_line=2)
    for token in (first, second):
        assert (await token.call("POST", data=b"x")).status == 202
    for token in (first, second):
        answer = await token.call("POST", data=b"x")
        assert (answer.status, answer.json["quota"], answer.json["count"]) == (429, "in_line", 2)
        assert "the owner of this token has 2 waiting entries" in answer.json["detail"]
    assert (await tenants.red.call("POST", data=b"x")).status == 202
    await empty(tenants)


async def test_two_tokens_of_an_owner_have_one_limit_of_what_runs_and_one_turn(
    tenants: Tenants,
) -> None:
    first, second = await _two_tokens(tenants, running=1)
    for token in (first, second, tenants.blue):
        assert (await token.call("POST", data=token.token_id)).status == 202
    worker = Peer(tenants.own.session, 10)
    await worker.connect(tenants.own.url)
    await wait_until(lambda: len(worker.held) == 2, "one of each owner is there")
    assert {delivery.data.decode() for delivery in worker.handed} == {
        first.token_id,
        tenants.blue.token_id,
    }
    await worker.complete(*list(worker.held))
    await wait_until(lambda: len(worker.handed) == 3, "the other one follows")
    await worker.complete(*list(worker.held))
    await wait_until(all_done_of(tenants), "nothing waits")
    await worker.cut()
    await empty(tenants)


async def test_users_of_one_team_are_bounded_and_take_no_place_of_another_s(
    tenants: Tenants, redis: Redis, keys: Keys
) -> None:
    members = keys.queue("sink")[10]
    await redis.hset(members, f"{tenants.red.token_id}{OWNED}g", "999")
    address = f"{tenants.own.jobs.eas}/sink?_watch_=true"

    def headers(team: Team, uid: str) -> dict[str, str]:
        return {
            "Authorization": team.token,
            names.GROUP_HEADER: "other",
            names.USER_HEADER: uid,
        }

    session = tenants.own.session
    async with session.ws_connect(address, headers=headers(tenants.red, "a")):
        async with session.get(address, headers=headers(tenants.red, "b")) as answer:
            assert answer.status == 429
            assert "1000 users" in (said := await answer.text())
            assert "use the same user names again" in said
        # A user that is there may connect again, and others are not concerned.
        async with session.ws_connect(address, headers=headers(tenants.red, "a")):
            pass
        async with session.ws_connect(address, headers=headers(tenants.blue, "b")):
            pass
    await redis.hdel(members, f"{tenants.red.token_id}{OWNED}g")


async def test_results_that_a_worker_s_token_makes_up_fill_no_more_than_a_share(
    small: Small,
) -> None:
    tenants = await small.tenants()
    forger = await tenants.own.make("work", "read")
    for number in range(MOST):
        query = {names.REQUEST_ID_TAG: f"id-{number}"}
        assert (await forger.eas("POST", "/sink", params=query, data=b"x")).status == 200
    answer = await forger.eas("POST", "/sink", params={names.REQUEST_ID_TAG: "more"}, data=b"x")
    assert answer.status == 429
    assert f"{MOST} results in the sink".encode() in answer.body
    worker = await tenants.worker()
    job = await tenants.blue.call("POST", data=b"blue")
    assert job.status in TAKEN

    async def is_done() -> bool:
        return (await tenants.blue.call("GET", f"/{job.json['id']}/result")).status == 200

    await wait_until(is_done, "the other team's job is done")
    # What it reads makes room again.
    assert len(await forger.frames(delete=True)) == MOST
    answer = await forger.eas("POST", "/sink", params={names.REQUEST_ID_TAG: "more"}, data=b"x")
    assert answer.status == 200
    await worker.cut()
    await empty(tenants)


async def test_keys_of_an_owner_that_has_very_many_are_kept_shorter(
    tenants: Tenants, redis: Redis, keys: Keys
) -> None:
    meta = keys.queue("input")[2]
    now_ms = int(time.time() * 1000)
    field = f"keys{SEP}{tenants.red.token_id}"
    await redis.hset(meta, field, f"{now_ms} {MOST_REMEMBERED - 1}")

    async def kept_ms(team: Team, key: str, *, eas: bool) -> int:
        headers = {names.IDEMPOTENCY_HEADER: key}
        ask = team.eas if eas else team.call
        for _ in range(2):
            # The second one is the same put: it is neither stored nor counted.
            answer = await ask("POST", data=b"x", headers=headers)
            assert answer.status in (200, 202), answer
        name = f"{team.token_id}{OWNED}{key}"
        stored = keys.idempotency("input", name) if eas else keys.submission(name)
        return int(await redis.pttl(stored))

    assert await kept_ms(tenants.red, "last", eas=False) > LEAST_KEPT_MS
    for eas in (False, True):
        assert 0 < await kept_ms(tenants.red, f"beyond-{eas}", eas=eas) <= LEAST_KEPT_MS
        assert await kept_ms(tenants.blue, f"beyond-{eas}", eas=eas) > LEAST_KEPT_MS
    since, count = str(await redis.hget(meta, field)).split()
    assert (int(since), int(count)) == (now_ms, MOST_REMEMBERED + 2)
    await empty(tenants)


async def test_ended_jobs_of_an_owner_that_has_very_many_are_forgotten_and_no_others(
    tenants: Tenants, redis: Redis, keys: Keys
) -> None:
    owned = keys.shared()[7]
    prefix = f"{tenants.red.token_id}{SEP}t{SEP}"
    for start in range(0, 2 * MOST_REMEMBERED, 10_000):
        numbers = range(start, start + 10_000)
        await redis.zadd(owned, {f"{prefix}seed-{number}": 0 for number in numbers})
    worker = await tenants.worker()
    for team in (tenants.red, tenants.blue, tenants.own):
        assert (await team.call("PUT", "/job", data=b"x")).status in TAKEN
    await wait_until(all_done_of(tenants), "all are done")
    for team in (tenants.red, tenants.blue):
        assert (await team.call("GET", "/job/result")).body == b"x"
        await team.frames(delete=True)

    async def is_forgotten() -> bool:
        return (await tenants.red.call("GET", "/job")).status == 404

    await wait_until(is_forgotten, "the job is forgotten with its result")
    assert (await tenants.blue.call("GET", "/job")).json["state"] == "succeeded"
    assert (await tenants.own.call("GET", "/job")).json["state"] == "succeeded"
    await redis.zremrangebylex(owned, f"[{prefix}seed", f"({prefix}seee")
    await worker.cut()
    await empty(tenants)


async def test_a_token_that_only_submits_sees_why_its_own_job_failed(
    tenants: Tenants, session: aiohttp.ClientSession
) -> None:
    submits = await tenants.own.make("submit", owner=tenants.red.token_id)
    worker = Peer(session, 1)
    await worker.connect(tenants.own.url)
    assert (await submits.call("PUT", "/one", data=b"x")).status == 202
    await wait_until(lambda: worker.held, "the worker has it")
    (delivery,) = worker.held.values()
    worker.held.clear()
    failed = Rejection(delivery.index, 1, "ValueError", "no such city", "internal", 60_000)
    await worker.send(Rejections((failed,)))
    await wait_until(lambda: worker.outcomes, "it is given back")
    for team in (submits, tenants.red):
        error = (await team.call("GET", "/one")).json["error"]
        assert (error["code"], error["message"]) == ("ValueError", "no such city")
    assert (await tenants.blue.call("GET", "/one")).status == 404
    assert (await tenants.red.call("POST", "/one/cancel")).status == 200
    # And nothing of its results.
    assert (await submits.call("GET", "/one/result")).status == 403
    await worker.cut()
    await empty(tenants)
