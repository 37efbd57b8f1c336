"""The EAS API: a team sees its own results, and EAS' clients with the service's token see all."""

import asyncio
import contextlib
import json

import pytest

from client_sdk import AsyncQueueClient
from client_sdk.wire import names
from client_sdk.wire.frame import decode
from tests.running import ADMIN_TOKEN
from tests.tenants.conftest import Tenants
from tests.tenants.team import Team
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries


async def _two_results_each(tenants: Tenants, *, others: int = 0) -> None:
    """Have red and blue put the same two request ids, and their results in the sink.

    others: how many entries beside those wait, and get a result too.
    """
    for team, word in ((tenants.red, b"red"), (tenants.blue, b"blue")):
        for number in (1, 2):
            await team.put(word, f"id-{number}")
    worker = await tenants.worker()

    # The sink may be shorter by then: those who watch it take results out.
    async def all_are_done() -> bool:
        return await tenants.own.number("") == 0

    await wait_until(all_are_done, "every entry has its result")
    await worker.cut()


async def test_reads_show_a_team_its_own_results(tenants: Tenants) -> None:
    await _two_results_each(tenants)
    for team, word in ((tenants.red, b"red"), (tenants.blue, b"blue")):
        assert await team.frames() == [("id-1", word), ("id-2", word)]
        assert await team.frames(requestId="id-2") == [("id-2", word)]
        assert await team.frames(_index_="-1", _length_="1") == [("id-2", word)]
        assert await team.frames(requestId=f"{tenants.red.token_id}\x1eid-1") == []
        assert await team.number("/sink") == 2
        assert await team.number("/sink", **{names.PRIORITY: "0"}) == 2
        assert await team.number("/sink", requestId="id-1") == 1
        attributes = json.loads((await team.eas("GET", "/sink?_attrs_=true")).body)
        assert attributes["stream.length"] == "2"
        assert attributes["consumers.stats.total"] == "0"
    assert len(await tenants.own.frames()) == 4
    assert await tenants.own.number("/sink") == 4


async def test_no_index_reaches_another_teams_entry(tenants: Tenants) -> None:
    await _two_results_each(tenants)
    found = await tenants.own.eas("GET", "/sink?_raw_=false&_length_=9&_auto_delete_=false")
    of_red = [
        str(frame["index"])
        for frame in json.loads(found.body)
        if frame["data"] == "cmVk"  # "red"
    ]
    assert len(of_red) == 2
    indexes = ",".join(of_red)
    for method, path in (
        ("PUT", f"/sink?_indexes_={indexes}"),
        ("DELETE", f"/sink?_indexes_={indexes}"),
        ("DELETE", f"/sink?_trunc_=true&_index_={2**60}"),
        ("PUT", f"/sink?_indexes_={indexes}&_negative_=true"),
    ):
        assert (await tenants.blue.eas(method, path)).status == 200, path
        assert await tenants.red.number("/sink") == 2, path
    assert await tenants.blue.number("/sink") == 0
    for index in of_red:
        answer = await tenants.blue.eas("GET", f"/sink?_search_=true&_index_={index}")
        assert answer.status == 404
    assert (await tenants.red.eas("DELETE", f"/sink?_indexes_={indexes}")).status == 200
    assert await tenants.own.number("/sink") == 0


async def test_the_input_queue_is_a_teams_own_too(tenants: Tenants) -> None:
    index = await tenants.red.put(b"x", "mine")
    again = await tenants.red.put(b"x", "mine")
    assert again == index
    assert await tenants.blue.put(b"x", "mine") != index
    assert await tenants.blue.number("") == 1
    assert (await tenants.blue.eas("GET", f"?_search_=true&_index_={index}")).status == 404
    attributes = json.loads((await tenants.blue.eas("GET", "?_attrs_=true")).body)
    assert attributes["stream.length"] == "1"
    assert (await tenants.blue.eas("DELETE", f"?_indexes_={index}")).status == 200
    assert (await tenants.blue.eas("DELETE", "?_trunc_=true&_index_=1000")).status == 200
    assert await tenants.blue.number("") == 0
    assert await tenants.red.number("") == 1
    assert await tenants.own.number("") == 1


async def test_a_put_key_is_a_teams_own(tenants: Tenants) -> None:
    headers = {names.IDEMPOTENCY_HEADER: "k"}
    indexes = set()
    for team in (tenants.red, tenants.blue, tenants.own, tenants.red):
        answer = await team.eas("POST", data=b"x", headers=headers)
        indexes.add(answer.body)
    assert len(indexes) == 3


async def test_the_end_of_a_stream_is_not_a_teams_to_declare(tenants: Tenants) -> None:
    for path in ("?_eos_=true", "/sink?_eos_=true", "?_eos_=true&_force_=true"):
        answer = await tenants.blue.eas("POST", path)
        assert answer.status == 403
        assert b"scope all" in answer.body
    await tenants.red.put(b"x")


async def _watch(team: Team, word: bytes, *, websocket: bool) -> None:
    """Watch as the same user as everybody here, until both results of this team are there."""
    if not websocket:
        headers = {"Authorization": team.token, **_SAME_USER}
        address = f"{team.jobs.eas}/sink?_watch_=true&_window_=1"
        async with team.session.get(address, headers=headers) as answer:
            size = int.from_bytes(await answer.content.readexactly(4), "big")
            data = await answer.content.readexactly(size)
            assert word in data
        return
    async with (
        AsyncQueueClient(team.url, "svc", token=team.token, gid="g", uid="u") as client,
        client.sink.watch(window=1) as frames,
    ):
        found = []
        async for frame in frames:
            assert frame.data == word
            found.append(frame.tags[names.REQUEST_ID_TAG])
            await client.sink.commit(frame.index)
            if len(found) == 2:
                break
    assert found == ["id-1", "id-2"]


_SAME_USER = {names.GROUP_HEADER: "g", names.USER_HEADER: "u"}


@pytest.mark.parametrize("websocket", [True, False])
async def test_watches_of_one_user_and_group_name_are_apart(
    tenants: Tenants, websocket: bool
) -> None:
    watching = [
        asyncio.ensure_future(_watch(team, word, websocket=websocket))
        for team, word in ((tenants.red, b"red"), (tenants.blue, b"blue"))
    ]
    try:
        await _two_results_each(tenants)
        await asyncio.gather(*watching)
    finally:
        for task in watching:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_watch_for_one_request_id_gets_the_teams_own_result(tenants: Tenants) -> None:
    await tenants.own.put(b"own", "id-1")
    watching = [
        asyncio.ensure_future(_first_watched(team, "id-1")) for team in (tenants.red, tenants.blue)
    ]
    try:
        await _two_results_each(tenants, others=1)
        assert await asyncio.gather(*watching) == [b"red", b"blue"]
    finally:
        for task in watching:
            task.cancel()


async def _first_watched(team: Team, request_id: str) -> bytes:
    """Watch for one request id, and give the data of what comes first."""
    query = {names.WATCH: "true", "requestId": request_id}
    headers = {"Authorization": team.token}
    address = f"{team.jobs.eas}/sink"
    async with team.session.get(address, params=query, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        size = int.from_bytes(await answer.content.readexactly(4), "big")
        return decode(await answer.content.readexactly(size)).data


async def test_a_group_is_not_told_of_others_subscribers(tenants: Tenants) -> None:
    async with (
        AsyncQueueClient(
            tenants.red.url, "svc", token=tenants.red.token, gid="g", uid="u"
        ) as client,
        client.sink.watch() as frames,
    ):
        reading = asyncio.ensure_future(anext(frames))

        async def is_there() -> bool:
            attributes = json.loads((await tenants.red.eas("GET", "/sink?_attrs_=true")).body)
            return "Id: g.u," in attributes.get("consumers.list.[0]", "")

        await wait_until(is_there, "the team sees its own watch")
        of_blue = (await tenants.blue.eas("GET", "/sink?_attrs_=true")).body.decode()
        assert "consumers.list" not in of_blue
        assert "groups.list" not in of_blue
        of_own = (await tenants.own.eas("GET", "/sink?_attrs_=true")).body.decode()
        assert "Id: g.u," in of_own
        await tenants.red.put(b"x")
        worker = await tenants.worker()
        assert (await reading).data == b"x"
        await worker.cut()


@pytest.mark.parametrize("commit_first", [True, False])
async def test_a_worker_that_speaks_eas_answers_each_team_under_one_request_id(
    tenants: Tenants, commit_first: bool
) -> None:
    for team, word in ((tenants.red, b"red"), (tenants.blue, b"blue"), (tenants.own, b"own")):
        await team.put(word, "same")
    frames = await tenants.own.frames("", delete=commit_first)
    assert len(frames) == 3
    for request_id, data in frames:
        query = {names.REQUEST_ID_TAG: request_id}
        answer = await tenants.own.eas("POST", "/sink", params=query, data=b"answer to " + data)
        assert answer.status == 200, answer
    for team, word in ((tenants.red, b"red"), (tenants.blue, b"blue")):
        assert await team.frames() == [("same", b"answer to " + word)]
    assert ("same", b"answer to own") in await tenants.own.frames(requestId="same")


async def test_a_result_finds_its_owner_when_the_token_has_been_replaced_meanwhile(
    tenants: Tenants,
) -> None:
    first = await tenants.own.make(owner="team")
    await first.put(b"question", "same")
    ((request_id, data),) = await tenants.own.frames("")
    assert (request_id, data) == ("same@team", b"question")
    async with first.session.delete(
        f"{first.url}/v1/tokens/{first.token_id}", headers={"Authorization": ADMIN_TOKEN}
    ) as answer:
        assert answer.status == 204, await answer.text()
    query = {names.REQUEST_ID_TAG: request_id}
    assert (await tenants.own.eas("POST", "/sink", params=query, data=b"answer")).status == 200
    second = await tenants.own.make(owner="team")
    assert await second.frames(delete=True) == [("same", b"answer")]
    ((_, _),) = await tenants.own.frames("", delete=True)


async def test_an_id_of_the_services_own_may_look_like_an_address(tenants: Tenants) -> None:
    for name in ("me@example.com", "@team", "me@", "a@b@c"):
        await tenants.own.put(b"question", name)
        query = {names.REQUEST_ID_TAG: name}
        assert (await tenants.own.eas("POST", "/sink", params=query, data=b"answer")).status == 200
        assert await tenants.own.frames(requestId=name, delete=True) == [(name, b"answer")]
    await tenants.own.frames("", delete=True)


@pytest.mark.parametrize("delete", [False, True])
async def test_a_plain_id_means_the_services_own_entry_there_or_not(
    tenants: Tenants, delete: bool
) -> None:
    await tenants.red.put(b"forged", "one")
    worker = await tenants.worker()

    async def is_there() -> bool:
        return await tenants.red.number("/sink") == 1

    await wait_until(is_there, "red has its result")
    # The own one has not been put, waits, is there, and has gone without a trace.
    assert await tenants.own.frames(requestId="one", delete=delete) == []
    await worker.cut()
    await tenants.own.put(b"own", "one")
    assert await tenants.own.frames(requestId="one", delete=delete) == []
    worker = await tenants.worker()

    async def is_own() -> bool:
        return bool(await tenants.own.frames(requestId="one") == [("one", b"own")])

    await wait_until(is_own, "the own result is there")
    await tenants.own.frames(requestId="one", delete=True)
    assert await tenants.own.frames(requestId="one", delete=delete) == []
    assert await tenants.own.number("/sink", requestId="one") == 0
    # With its owner it is everybody's who sees all.
    name = f"one@{tenants.red.token_id}"
    assert await tenants.own.number("/sink", requestId=name) == 1
    assert await tenants.own.frames(requestId=name, delete=True) == [("one", b"forged")]
    assert await tenants.red.number("/sink") == 0
    await worker.cut()
