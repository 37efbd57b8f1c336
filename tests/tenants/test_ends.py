"""How entries of two teams end, wait for another attempt, and go out again: each is its owner's."""

import asyncio
from typing import Any

import pytest

from client_sdk.wire import names
from client_sdk.wire.worker import Delivery, Rejection, Rejections
from tests.promises.operators import Operator
from tests.promises.peer import Peer
from tests.queue_service.web.jobs.api import TAKEN
from tests.running import ADMIN_TOKEN
from tests.tenants.conftest import Tenants
from tests.tenants.team import Team
from tests.tenants.test_shares import CAPACITY, Small, all_done_of, empty, small
from tests.waiting import wait_until

__all__ = ["small"]

pytestmark = pytest.mark.leaves_entries

PAUSE_MS = 600_000


async def _reject_each(tenants: Tenants, count: int, *, pause_ms: int = 0) -> Peer:
    """Have a worker that gives every delivery back with the data in its sentence."""

    def reject(peer: Peer, delivery: Delivery) -> None:
        said = f"no {delivery.data.decode()}"
        answer = Rejection(
            delivery.index, delivery.attempt, "500", said, "internal", pause_ms=pause_ms
        )
        del peer.held[delivery.index]
        task = asyncio.ensure_future(peer.send(Rejections((answer,))))
        rejecting.add(task)
        task.add_done_callback(rejecting.discard)

    rejecting: set[asyncio.Future[None]] = set()
    worker = Peer(tenants.own.session, 10, on_delivery=reject)
    await worker.connect(tenants.own.url)
    await wait_until(lambda: len(worker.outcomes) >= count, "they were given back")
    return worker


async def _job(team: Team, name: str = "same") -> Any:
    answer = await team.call("GET", f"/{name}")
    assert answer.status == 200, answer
    return answer.json


async def _put_same(tenants: Tenants, **params: str) -> None:
    for team, word in ((tenants.red, b"red"), (tenants.blue, b"blue")):
        answer = await team.call("PUT", "/same", data=word, params=params)
        assert answer.status in TAKEN, answer


async def _operators_only(tenants: Tenants, path: str = "") -> None:
    """Dead letters are the operators': no token of a service sees or replays one."""
    address = f"{tenants.own.url}/v1/services/svc/dead-letters{path}"
    for token in (tenants.red.token, tenants.blue.token, tenants.own.token):
        headers = {"Authorization": token}
        for method in ("GET", "POST", "DELETE", *(["PATCH"] if path else [])):
            tail = "/replay" if method == "POST" else ""
            session = tenants.own.session
            async with session.request(method, address + tail, headers=headers) as answer:
                assert answer.status in (401, 403), (method, answer.status)
                assert "same" not in await answer.text()


async def test_dead_letters_keep_their_owner_and_are_replayed_for_it(small: Small) -> None:
    tenants = await small.tenants(max_delivery=1, dead_message_policy="Park")
    operator = Operator(tenants.own.session, tenants.own.url)
    await _put_same(tenants)
    worker = await _reject_each(tenants, 2)
    await wait_until(all_done_of(tenants), "both have ended")
    for team, word in ((tenants.red, "red"), (tenants.blue, "blue")):
        job = await _job(team)
        assert (job["state"], job["error"]["message"]) == ("failed", f"no {word}")
        assert await team.frames() == [("same", f"no {word}".encode())]
        assert await team.listed(state="failed") == ["same"]
    letters = {letter["owner"]: letter for letter in await operator.letters()}
    assert set(letters) == {tenants.red.token_id, tenants.blue.token_id}
    await _operators_only(tenants)
    await _operators_only(tenants, f"/{letters[tenants.red.token_id]['id']}")

    # Both are called the same: the owner says which one is meant.
    chosen: dict[str, Any] = {"requestId": "same", "owner": tenants.red.token_id}
    assert [letter["owner"] for letter in await operator.letters(**chosen)] == [
        tenants.red.token_id
    ]
    assert await operator.letters(owner="") == []
    await operator.ask("GET", status=400, owner="no owner")
    await worker.cut()
    told = await operator.ask("POST", "/replay", **chosen)
    assert [one["request_id"] for one in told["replayed"]] == ["same"]
    assert ((await _job(tenants.red))["state"], (await _job(tenants.blue))["state"]) == (
        "queued",
        "failed",
    )
    assert (await tenants.red.number(""), await tenants.blue.number("")) == (1, 0)
    # The error that red has not read is taken back; what blue has stays.
    assert await tenants.red.frames() == []
    assert await tenants.blue.frames() == [("same", b"no blue")]
    answering = await tenants.worker()
    await wait_until(all_done_of(tenants), "it is done")
    assert (await tenants.red.call("GET", "/same/result")).body == b"red"
    assert (await _job(tenants.blue))["state"] == "failed"
    assert (await operator.ask("DELETE", owner=tenants.blue.token_id))["purged"] == 1
    await answering.cut()
    await empty(tenants)


async def test_what_goes_to_the_rear_stays_its_owner_s(small: Small) -> None:
    tenants = await small.tenants(max_delivery=1, dead_message_policy="Rear")
    first = [await team.put(b"x", "same") for team in (tenants.red, tenants.blue)]
    worker = await _reject_each(tenants, 2)
    await worker.cut()
    for team in (tenants.red, tenants.blue):
        assert await team.number("") == 1
        assert await team.number("/sink") == 0
    own = await tenants.own.eas("GET", params={names.RAW: "false", names.LENGTH: "9"})
    assert own.status == 200
    for index in first:
        for team in (tenants.red, tenants.blue):
            query = {names.SEARCH: "true", names.INDEX: index}
            assert (await team.eas("GET", params=query)).status == 404
    answering = await tenants.worker()
    await wait_until(all_done_of(tenants), "both are done")
    for team in (tenants.red, tenants.blue):
        assert await team.frames() == [("same", b"x")]
    await answering.cut()
    await empty(tenants)


async def test_what_is_dropped_is_dropped_for_its_owner(small: Small) -> None:
    tenants = await small.tenants(max_delivery=1, dead_message_policy="Drop")
    await tenants.red.call("PUT", "/same", data=b"red")
    worker = await _reject_each(tenants, 1)
    await wait_until(all_done_of(tenants), "it is gone")
    await worker.cut()
    await tenants.blue.call("PUT", "/same", data=b"blue")
    assert ((await _job(tenants.red))["state"], (await _job(tenants.blue))["state"]) == (
        "failed",
        "queued",
    )
    assert await tenants.red.frames() == []
    assert (await tenants.red.number(""), await tenants.blue.number("")) == (0, 1)
    answering = await tenants.worker()
    await wait_until(all_done_of(tenants), "the other one is done")
    assert await tenants.blue.frames() == [("same", b"blue")]
    await answering.cut()
    await empty(tenants)


async def test_a_pause_after_a_failure_is_its_owner_s_to_see_and_to_end(tenants: Tenants) -> None:
    await _put_same(tenants)
    await tenants.red.call("PUT", "/only", data=b"red")
    worker = await _reject_each(tenants, 3, pause_ms=PAUSE_MS)
    for team, count in ((tenants.red, 2), (tenants.blue, 1)):
        job = await _job(team)
        assert (job["state"], job["position"]) == ("queued", None)
        assert job["next_attempt_at"] is not None
        assert await team.number("") == count
        assert len(await team.listed(state="queued")) == count
        estimate = await team.eas("GET", params={names.ATTRIBUTES: "true"})
        assert estimate.status == 200
    # Nobody else finds it, by whichever verb.
    for method, tail in (("GET", ""), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/result")):
        assert (await tenants.blue.call(method, f"/only{tail}")).status == 404
    index = str((await _job(tenants.red, "only"))["index"])
    await tenants.blue.eas("DELETE", params={names.INDEXES: index})
    await tenants.blue.eas("DELETE", params={names.TRUNCATE: "true", names.INDEX: index})
    assert (await tenants.blue.call("POST", "/same/cancel")).status == 200
    assert ((await _job(tenants.red))["state"], (await _job(tenants.blue))["state"]) == (
        "queued",
        "canceled",
    )
    assert (await tenants.red.number(""), await tenants.blue.number("")) == (2, 0)
    for name in ("same", "only"):
        assert (await tenants.red.call("POST", f"/{name}/cancel")).status == 200
    await worker.cut()
    await empty(tenants)


async def test_a_deadline_ends_a_pause_for_its_owner_alone(tenants: Tenants) -> None:
    await tenants.red.call("PUT", "/same", data=b"red", params={"finish_by": "3s"})
    # What a worker has begun is not late for `start_by`.
    await tenants.red.call("PUT", "/begun", data=b"red", params={"start_by": "3s"})
    await tenants.blue.call("PUT", "/same", data=b"blue")
    worker = await _reject_each(tenants, 3, pause_ms=PAUSE_MS)

    async def is_late() -> bool:
        return bool((await _job(tenants.red))["state"] == "expired")

    await wait_until(is_late, "the deadline has passed")
    assert (await _job(tenants.blue))["state"] == "queued"
    assert (await _job(tenants.red, "begun"))["state"] == "queued"
    assert (await tenants.red.number(""), await tenants.blue.number("")) == (1, 1)
    assert await tenants.blue.frames() == []
    for team, name in ((tenants.red, "begun"), (tenants.blue, "same")):
        assert (await team.call("POST", f"/{name}/cancel")).status == 200
    await worker.cut()
    await empty(tenants)


async def test_a_full_queue_drops_what_pauses_of_who_has_most_and_keeps_its_books(
    small: Small,
) -> None:
    tenants = await small.tenants(input={"max_length": CAPACITY, "auto_evict": True})
    kept = await tenants.blue.call("POST", data=b"kept")
    for number in range(CAPACITY - 1):
        assert (await tenants.red.call("PUT", f"/{number}", data=b"red")).status == 202
    worker = await _reject_each(tenants, CAPACITY, pause_ms=PAUSE_MS)
    await worker.cut()
    for _ in range(3):
        assert (await tenants.blue.call("POST", data=b"blue")).status == 202
    assert (await tenants.red.number(""), await tenants.blue.number("")) == (CAPACITY - 4, 4)
    assert await tenants.red.listed(state="canceled") == ["0", "1", "2"]
    assert (await _job(tenants.blue, kept.json["id"]))["state"] == "queued"
    # What pauses is not delivered, and the three new ones are.
    answering = await tenants.worker()
    await wait_until(lambda: len(answering.outcomes) == 3, "the new ones are done")
    assert {delivery.data for delivery in answering.handed} == {b"blue"}
    for name in await tenants.red.listed(state="queued"):
        assert (await tenants.red.call("POST", f"/{name}/cancel")).status == 200
    assert (await tenants.blue.call("POST", f"/{kept.json['id']}/cancel")).status == 200
    await answering.cut()
    await empty(tenants)


async def test_the_list_of_the_admin_names_the_owner_of_a_letter(small: Small) -> None:
    tenants = await small.tenants(max_delivery=1, dead_message_policy="Park")
    await tenants.own.put(b"own", "same")
    await tenants.red.put(b"red", "same")
    worker = await _reject_each(tenants, 2)
    await wait_until(all_done_of(tenants), "both have ended")
    operator = Operator(tenants.own.session, tenants.own.url)
    assert [letter["owner"] for letter in await operator.letters()] == ["", tenants.red.token_id]
    assert [letter["owner"] for letter in await operator.letters(owner="")] == [""]
    session, headers = tenants.own.session, {"Authorization": ADMIN_TOKEN}
    address = f"{tenants.own.url}/v1/services/svc/dead-letters?owner="
    async with session.delete(address, headers=headers) as answer:
        assert (await answer.json()) == {"purged": 1}
    assert await operator.purge_all() == 1
    await worker.cut()
    await empty(tenants)
