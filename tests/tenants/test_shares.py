"""One team's entries, results and groups leave room for those of another."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire.worker import Delivery, Rejection, Rejections
from tests.conftest import Serve
from tests.promises.peer import Peer
from tests.queue_service.web.jobs.api import TAKEN
from tests.running import ADMIN_TOKEN, TOKEN
from tests.tenants.conftest import Tenants
from tests.tenants.team import SCOPES, Team
from tests.waiting import wait_until

#: Places in each queue.
CAPACITY = 20
#: The most that one team may have of them: four fifths.
MOST = 16


@dataclass
class Small:
    """A tenants whose queues are small; what its services are may be said."""

    serve: Serve
    session: aiohttp.ClientSession

    async def tenants(self, **settings: object) -> Tenants:
        small = {"max_length": CAPACITY}
        service: dict[str, object] = {"name": "svc", "input": small, "sink": small, **settings}
        url = await self.serve(service, result_retention_ms=3_600_000)
        own = Team(self.session, url, TOKEN)
        return Tenants(own, await own.make(), await own.make())


@pytest.fixture
def small(serve: Serve, session: aiohttp.ClientSession) -> Small:
    return Small(serve, session)


async def _fill(team: Team) -> tuple[int, dict[str, object]]:
    """Put until one is refused; give how many were taken, and the refusal."""
    for count in range(10 * CAPACITY):
        answer = await team.call("POST", data=b"x")
        if answer.status != 202:
            return count, answer.json
    raise AssertionError("nothing was refused")


async def empty(tenants: Tenants) -> None:
    everything = {names.TRUNCATE: "true", names.INDEX: str(2**62)}
    for path in ("", "/sink"):
        await tenants.own.eas("DELETE", path, params=everything)


async def test_a_team_leaves_room_in_the_input_queue(small: Small) -> None:
    tenants = await small.tenants()
    count, refusal = await _fill(tenants.red)
    assert (count, refusal["code"], refusal["quota"]) == (MOST, "QUOTA_EXCEEDED", "input_share")
    assert "cancel some" in str(refusal["detail"])
    answer = await tenants.red.eas("POST", data=b"x")
    assert answer.status == 429
    for _ in range(2):
        assert (await tenants.blue.call("POST", data=b"x")).status == 202
        assert (await tenants.own.call("POST", data=b"x", headers={})).status == 202
    await empty(tenants)


async def test_jobs_that_wait_for_a_far_time_hold_no_more_than_a_share(small: Small) -> None:
    tenants = await small.tenants()
    for number in range(CAPACITY):
        answer = await tenants.red.call("PUT", f"/{number}", data=b"x", params={"not_before": "1h"})
        assert answer.status == (202 if number < MOST else 429)
    assert (await tenants.blue.call("POST", data=b"x")).status == 202
    for number in range(MOST):
        await tenants.red.call("POST", f"/{number}/cancel")
    await empty(tenants)


async def test_jobs_that_pause_after_a_failure_hold_no_more_than_a_share(small: Small) -> None:
    tenants = await small.tenants()
    worker = Peer(tenants.own.session, 1, token=TOKEN)
    await worker.connect(tenants.own.url)
    for number in range(CAPACITY):
        answer = await tenants.red.call("PUT", f"/{number}", data=b"x")
        if answer.status == 429:
            break
        await wait_until(lambda: worker.held, "it is delivered")
        (index,) = worker.held
        del worker.held[index]
        failed = Rejection(index, 1, "503", "the server is busy", "transient", 60_000)
        await worker.send(Rejections((failed,)))
    assert (number, answer.json["quota"]) == (MOST, "input_share")
    assert (await tenants.blue.call("POST", data=b"x")).status == 202
    for number in range(MOST):
        assert (await tenants.red.call("POST", f"/{number}/cancel")).status == 200
    await worker.cut()
    await empty(tenants)


async def test_results_that_one_team_never_reads_stop_that_team_alone(small: Small) -> None:
    tenants = await small.tenants()
    worker = await tenants.worker()
    put = 0

    async def is_refused() -> bool:
        nonlocal put
        answer = await tenants.red.call("POST", data=b"x")
        put += answer.status in TAKEN
        return answer.status == 429 and answer.json["quota"] == "sink_share"

    await wait_until(is_refused, "red is told that its results fill the sink")

    async def has_result() -> bool:
        return (await tenants.blue.call("GET", f"/{job}/result")).status == 200

    for _ in range(2):
        answer = await tenants.blue.call("POST", data=b"blue")
        assert answer.status in TAKEN
        job = answer.json["id"]
        await wait_until(has_result, "the other team's job is done")

    # What waits goes on as soon as some are read.
    async def all_done() -> bool:
        nonlocal put
        put -= len(await tenants.red.frames(delete=True))
        return put == 0

    await wait_until(all_done, "red has read everything")
    assert (await tenants.red.call("POST", data=b"x")).status in TAKEN
    await wait_until(all_done_of(tenants), "nothing waits")
    await worker.cut()
    await empty(tenants)


def all_done_of(tenants: Tenants) -> Callable[[], Awaitable[bool]]:
    async def is_empty() -> bool:
        answer = await tenants.own.eas("GET", params={names.COUNT: "true"})
        return answer.body == b"0"

    return is_empty


async def test_a_limit_of_unread_results_is_the_token_s_own(small: Small) -> None:
    tenants = await small.tenants()
    wish = {"scopes": list(SCOPES), "limits": {"unread": 2}}
    admin = {"Authorization": ADMIN_TOKEN}
    url = f"{tenants.own.url}/v1/tokens"
    async with small.session.post(url, json=wish, headers=admin) as made:
        limited = Team(small.session, tenants.own.url, (await made.json())["token"])
    worker = await tenants.worker()

    async def is_refused() -> bool:
        answer = await limited.call("POST", data=b"x")
        return answer.status == 429 and answer.json["quota"] == "unread"

    await wait_until(is_refused, "two results are not read")
    await wait_until(all_done_of(tenants), "nothing waits")
    await limited.frames(delete=True)
    assert (await limited.call("POST", data=b"x")).status in TAKEN
    await wait_until(all_done_of(tenants), "nothing waits")
    await worker.cut()
    await empty(tenants)


async def test_a_queue_that_evicts_drops_what_belongs_to_who_has_most(small: Small) -> None:
    tenants = await small.tenants(input={"max_length": CAPACITY, "auto_evict": True})
    kept = (await tenants.blue.call("POST", data=b"blue")).json["id"]
    for _ in range(3 * CAPACITY):
        assert (await tenants.red.call("POST", data=b"red")).status == 202
    assert (await tenants.blue.call("GET", f"/{kept}")).json["state"] == "queued"
    await empty(tenants)


async def test_a_sink_that_evicts_drops_results_of_who_has_most(small: Small) -> None:
    tenants = await small.tenants(sink={"max_length": CAPACITY, "auto_evict": True})
    worker = await tenants.worker()
    kept = (await tenants.blue.call("POST", data=b"blue")).json["id"]

    async def has_result() -> bool:
        # A GET would read it, and results that were read are dropped first.
        return (await tenants.blue.call("HEAD", f"/{kept}/result")).status == 200

    await wait_until(has_result, "there is a result")
    for _ in range(3 * CAPACITY):
        await tenants.red.call("POST", data=b"red")
        await wait_until(all_done_of(tenants), "nothing waits")
    assert await has_result()
    await worker.cut()
    await empty(tenants)


async def test_dead_letters_of_one_team_do_not_crowd_out_another_s(small: Small) -> None:
    tenants = await small.tenants(
        max_delivery=1, dead_message_policy="Park", dead_letters_max_length=5
    )

    def reject(peer: Peer, delivery: Delivery) -> None:
        task = asyncio.ensure_future(peer.reject(delivery.index))
        rejecting.add(task)
        task.add_done_callback(rejecting.discard)

    rejecting: set[asyncio.Future[None]] = set()
    worker = Peer(small.session, 10, token=TOKEN, on_delivery=reject)
    await worker.connect(tenants.own.url)
    await tenants.blue.call("POST", data=b"blue")
    await wait_until(all_done_of(tenants), "nothing waits")
    for _ in range(3 * CAPACITY):
        await tenants.red.call("POST", data=b"red")
        await tenants.red.frames(delete=True)
        await wait_until(all_done_of(tenants), "nothing waits")
    dead = f"{tenants.own.url}/v1/services/svc/dead-letters"
    admin = {"Authorization": ADMIN_TOKEN}
    async with small.session.get(dead, headers=admin) as answer:
        letters = (await answer.json())["dead_letters"]
    assert len(letters) == 5
    async with small.session.get(f"{dead}/{letters[0]['id']}", headers=admin) as answer:
        assert (await answer.json())["data"] == "blue"
    async with small.session.delete(f"{dead}?all=true", headers=admin) as answer:
        assert answer.status == 200
    await worker.cut()
    await empty(tenants)


async def test_groups_of_one_team_take_no_place_of_another_s(small: Small) -> None:
    tenants = await small.tenants()
    address = f"{tenants.own.jobs.eas}/sink?_watch_=true"

    def headers(team: Team, gid: str) -> dict[str, str]:
        return {"Authorization": team.token, names.GROUP_HEADER: gid}

    open_ones = [
        await small.session.ws_connect(address, headers=headers(tenants.red, f"g{number}"))
        for number in range(50)
    ]
    async with small.session.get(address, headers=headers(tenants.red, "more")) as answer:
        assert answer.status == 429
        assert "use the same group name again" in await answer.text()
    async with small.session.ws_connect(address, headers=headers(tenants.blue, "g")):
        pass
    # A group that nobody is in any more makes room for the next.
    await open_ones.pop().close()

    async def is_taken() -> bool:
        try:
            again = await small.session.ws_connect(address, headers=headers(tenants.red, "more"))
        except aiohttp.WSServerHandshakeError:
            return False
        await again.close()
        return True

    await wait_until(is_taken, "there is room for a group")
    for socket in open_ones:
        await socket.close()
