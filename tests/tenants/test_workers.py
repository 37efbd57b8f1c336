"""Tokens of workers: a name belongs to the token that came with it, and so do its deliveries."""

import asyncio
import json

import pytest

from client_sdk.wire import events, names
from client_sdk.wire import worker as wire
from tests.promises.peer import Peer
from tests.tenants.conftest import Tenants
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


async def test_a_worker_of_another_token_takes_nothing_over(tenants: Tenants) -> None:
    first, second = await tenants.own.make("work"), await tenants.own.make("work")
    await tenants.red.put(b"x", "one")
    mine = Peer(tenants.own.session, 1, "w", token=first.token)
    await mine.connect(tenants.own.url)
    await wait_until(lambda: mine.held, "the worker has it")
    (delivery,) = mine.held.values()
    assert delivery.request_id == "one"

    thief = Peer(tenants.own.session, 1, "w", token=second.token)
    thief.held[delivery.index] = delivery
    await thief.connect(tenants.own.url)
    assert thief.held == {}
    assert mine.connected
    thief.held[delivery.index] = delivery
    await thief.complete(delivery.index, data=b"forged")
    await wait_until(lambda: thief.outcomes, "the service has an opinion")
    assert [outcome.accepted for outcome in thief.outcomes] == [False]
    await thief.send(wire.Rejections((wire.Rejection(delivery.index, delivery.attempt, "500"),)))
    await wait_until(lambda: len(thief.outcomes) == 2, "and another one")
    assert not thief.outcomes[1].accepted
    stranger = await tenants.own.make("work")
    headers = {names.GROUP_HEADER: "svc", names.USER_HEADER: "w"}
    for path in (f"?_indexes_={delivery.index}", f"?_indexes_={delivery.index}&_negative_=true"):
        await stranger.eas("PUT", path, headers=headers)
    await mine.complete(delivery.index, data=b"true")
    await wait_until(lambda: mine.outcomes, "the answer was taken")
    assert mine.outcomes[0].accepted
    assert await tenants.red.frames() == [("one", b"true")]
    await asyncio.gather(mine.cut(), thief.cut())


async def test_a_worker_that_comes_back_with_its_token_goes_on(tenants: Tenants) -> None:
    token = await tenants.own.make("work")
    await tenants.red.put(b"x", "one")
    worker = Peer(tenants.own.session, 1, "w", token=token.token)
    await worker.connect(tenants.own.url)
    await wait_until(lambda: worker.held, "the worker has it")
    await worker.cut()
    await worker.connect(tenants.own.url)
    assert len(worker.held) == 1
    job = (await tenants.red.call("GET", "/one")).json
    assert (job["state"], job["worker"]) == ("running", "w")
    await worker.complete(*worker.held)
    await wait_until(lambda: worker.outcomes, "the answer was taken")
    await worker.cut()


async def test_a_work_token_forges_no_result(tenants: Tenants) -> None:
    forger, honest = await tenants.own.make("work", "read"), await tenants.own.make("work")
    await tenants.red.put(b"x", "one")
    await tenants.own.put(b"x", "two")
    worker = Peer(tenants.own.session, 2, "w", token=honest.token)
    await worker.connect(tenants.own.url)
    await wait_until(lambda: len(worker.held) == 2, "the worker has both")
    for request_id in ("two", f"one@{tenants.red.token_id}"):
        query = {names.REQUEST_ID_TAG: request_id}
        answer = await forger.eas("POST", "/sink", params=query, data=b"forged")
        assert answer.status == 409, answer
    # What answers nothing is the forger's own, and never another owner's.
    for request_id in ("one", "next"):
        query = {names.REQUEST_ID_TAG: request_id}
        assert (await forger.eas("POST", "/sink", params=query, data=b"forged")).status == 200
    await tenants.red.put(b"x", "next")
    assert await tenants.red.frames() == []
    assert await forger.frames() == [("one", b"forged"), ("next", b"forged")]
    await worker.complete(*list(worker.held))
    await wait_until(lambda: len(worker.outcomes) == 2, "the answers were taken")
    assert await tenants.red.frames() == [("one", b"x")]
    await worker.cut()


async def test_a_work_token_answers_through_eas_what_its_own_watch_holds(tenants: Tenants) -> None:
    token = await tenants.own.make("work")
    for team in (tenants.red, tenants.blue):
        await team.put(team.token_id.encode(), "same")
    headers = {"Authorization": token.token, names.USER_HEADER: "w", names.GROUP_HEADER: "svc"}
    address = f"{tenants.own.jobs.eas}?_watch_=true&_window_=10"
    async with tenants.own.session.ws_connect(address, headers=headers) as socket:
        for _ in range(2):
            frame = await socket.receive_bytes()
            owner = next(t for t in (tenants.red, tenants.blue) if t.token_id.encode() in frame)
            query = {names.REQUEST_ID_TAG: f"same@{owner.token_id}"}
            assert query[names.REQUEST_ID_TAG].encode() in frame
            answer = await token.eas("POST", "/sink", params=query, data=owner.token_id)
            assert answer.status == 200, answer
    for team in (tenants.red, tenants.blue):
        assert await team.frames() == [("same", team.token_id.encode())]


async def test_events_of_a_worker_reach_the_job_of_the_entry_it_has(tenants: Tenants) -> None:
    for team in (tenants.red, tenants.blue):
        assert (await team.call("PUT", "/one", data=team.token_id)).status == 202
    worker = Peer(tenants.own.session, 2)
    await worker.connect(tenants.own.url)
    await wait_until(lambda: len(worker.held) == 2, "the worker has both")
    await worker.cut()
    await worker.connect(tenants.own.url)
    for delivery in worker.held.values():
        event = events.Event(
            index=delivery.index,
            attempt=delivery.attempt,
            request_id="one",
            number=1,
            kind=events.DELTA,
            data=b"says " + delivery.data,
            tokens=1,
        )
        await worker.send(events.Events((event,)))
    await worker.complete(*list(worker.held))
    for team in (tenants.red, tenants.blue):
        answer = await team.call("GET", "/one/events")
        assert json.dumps(f"says {team.token_id}").encode() in answer.body
        assert answer.body.count(b"says ") == 1
    await worker.cut()


async def test_a_get_that_deletes_takes_nothing_that_another_token_s_worker_holds(
    tenants: Tenants,
) -> None:
    other = await tenants.own.make("work")
    held = await tenants.red.put(b"held", "held")
    worker = Peer(tenants.own.session, 1)
    await worker.connect(tenants.own.url)
    await wait_until(lambda: worker.held, "the worker has it")
    await tenants.blue.put(b"free", "free")
    # By index, by request id, and several at once.
    name = f"held@{tenants.red.token_id}"
    for query in ({names.INDEX: held}, {names.REQUEST_ID_TAG: name}, {names.LENGTH: "9"}):
        seen = await other.frames("", delete=True, **{names.LENGTH: "1", **query})
        assert b"held" not in [data for _, data in seen], query
    assert await tenants.blue.number("") == 0
    # To look at it is no harm, and the service's own token takes what it says.
    assert [data for _, data in await other.frames("")] == [b"held"]
    (delivery,) = list(worker.held)
    await worker.complete(delivery)
    await wait_until(lambda: worker.outcomes, "the answer was taken")
    assert worker.outcomes[0].accepted
    assert await tenants.red.frames() == [("held", b"held")]
    held = await tenants.red.put(b"held", "again")
    await wait_until(lambda: worker.held, "the worker has it")
    assert len(await tenants.own.frames("", delete=True)) == 1
    assert await tenants.red.number("") == 0
    await worker.cut()


async def test_a_get_that_deletes_takes_what_its_own_token_s_watch_holds(tenants: Tenants) -> None:
    token = await tenants.own.make("work")
    await tenants.red.put(b"x", "one")
    headers = {"Authorization": token.token, names.USER_HEADER: "w", names.GROUP_HEADER: "svc"}
    address = f"{tenants.own.jobs.eas}?_watch_=true"
    async with tenants.own.session.ws_connect(address, headers=headers) as socket:
        await socket.receive_bytes()
        assert [data for _, data in await token.frames("", delete=True)] == [b"x"]
    assert await tenants.red.number("") == 0
