"""Attributes, groups and places in the line, and the addresses for clients of type DIRECT."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from client_sdk.wire import frame, names
from tests.compatibility.conftest import Pair
from tests.compatibility.plain import Plain, plain_session
from tests.conftest import Serve, StartWorker
from tests.running import QueueServiceProcess
from tests.waiting import wait_until

LINE = re.compile(
    r"Id: (?P<gid>[^.]+)\.(?P<uid>\S+), Index: (?P<index>-?\d+), Pending: (?P<pending>\d+), "
    r"Status: (?P<status>Running|Leaving|Exit|Complete), Idle: \d+\.\d{3}s, "
    r"Window: (?P<window>\d+), Slots: (?P<slots>\d+), AutoCommit: (?P<auto>true|false)"
    r"(, Tags: tags\[(?P<tags>[^\]]*)\])?"
)


@pytest.fixture
async def plain(url: str) -> AsyncIterator[Plain]:
    async with plain_session() as session:
        asked = Plain(session, f"{url}{names.EAS_PREFIX}/svc")
        yield asked
        await asked.truncate()


async def watch(
    plain: Plain, uid: str, query: str = "_window_=5", gid: str = "eas"
) -> aiohttp.ClientWebSocketResponse:
    return await plain.session.ws_connect(
        f"{plain.base}?_watch_=true&{query}", headers=plain.identity(uid, gid)
    )


async def subscriber(plain: Plain, uid: str) -> dict[str, str | None]:
    """Read what attributes say of a user; {} when they say nothing."""
    attributes = await plain.attributes()
    lines = [text for name, text in attributes.items() if name.startswith("consumers.list.[")]
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    return next((m.groupdict() for m in matches if m and m["uid"] == uid), {})


async def commit(plain: Plain, uid: str, *indexes: int, gid: str = "eas") -> None:
    query = f"?_indexes_={','.join(map(str, indexes))}"
    headers = plain.identity(uid, gid)
    assert (await plain.ask("PUT", query, headers=headers)).text == "OK"


async def test_a_subscriber_is_described_by_every_field(plain: Plain) -> None:
    await plain.put(target="?colour=red&size=1")
    socket = await watch(plain, "u1", "_window_=5&_index_=1&size=1&colour=red")
    await socket.receive(5)
    described = await subscriber(plain, "u1")
    assert described == {
        "gid": "eas",
        "uid": "u1",
        "index": "1",
        "pending": "1",
        "status": "Running",
        "window": "5",
        "slots": "4",
        "auto": "false",
        "tags": "colour=red size=1",
    }
    attributes = await plain.attributes()
    assert attributes["groups.list.[0]"] == "Id: eas, Consumers: 1, Pending: 1, Waiting: 0"
    assert attributes["consumers.status.total"] == attributes["consumers.stats.total"] == "1"
    await socket.close()


async def test_an_auto_commit_subscriber_shows_no_window(plain: Plain) -> None:
    socket = await watch(plain, "u1", "_auto_commit_=true&_window_=5")
    described = await subscriber(plain, "u1")
    assert (described["window"], described["slots"], described["auto"]) == ("0", "0", "true")
    await socket.close()


async def test_a_leaving_subscriber_is_leaving_then_exit_or_complete_and_running_again(
    serve: Serve,
) -> None:
    base = f"{await serve(release_grace_ms=1000)}{names.EAS_PREFIX}/svc"
    async with plain_session() as session:
        plain = Plain(session, base)
        index = await plain.put()
        holder = await watch(plain, "holder")
        await holder.receive(5)
        done = await watch(plain, "done")

        async def has(uid: str, status: str) -> bool:
            return (await subscriber(plain, uid)).get("status") == status

        assert await has("holder", "Running")
        assert await has("done", "Running")

        await done.close()
        await wait_until(lambda: has("done", "Complete"), "it left with empty hands")
        await holder.close()
        await wait_until(lambda: has("holder", "Leaving"), "it may still come back")
        await wait_until(lambda: has("holder", "Exit"), "what it held goes to others")
        # Only those who are there, or may come back, are counted.
        assert (await plain.attributes())["consumers.status.total"] == "0"

        again = await watch(plain, "holder")
        assert frame.decode((await again.receive(5)).data).index == index
        assert await has("holder", "Running")
        await commit(plain, "holder", index)
        await again.close()
        await wait_until(lambda: has("holder", "Complete"), "this time it was done")


async def test_an_entry_stays_until_every_group_is_done_and_a_delete_is_for_all(
    plain: Plain,
) -> None:
    sockets = [await watch(plain, "u", gid=gid) for gid in ("one", "two")]
    first, second = await plain.put("a"), await plain.put("b")
    for socket in sockets:
        for _ in range(2):
            await socket.receive(5)
    await commit(plain, "u", first, gid="one")
    assert await plain.length() == 2
    await commit(plain, "u", first, gid="two")
    assert await plain.length() == 1
    await plain.ask("DELETE", f"?_indexes_={second}")
    assert await plain.length() == 0
    for socket in sockets:
        await socket.close()


async def test_go_reads_the_attributes_as_protobuf(plain: Plain) -> None:
    answer = await plain.ask("GET", "?_attrs_=true", headers={"Accept": names.PROTOBUF})
    decoded = frame.decode_attributes(answer.body)
    assert decoded["meta.header.user"] == names.USER_HEADER
    assert set(decoded) == set(await plain.attributes())


async def test_a_search_is_pending_only_for_the_group_that_holds(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url, engine_options={"delay_s": 20}, worker_threads=1, grace_s=0)
    async with plain_session() as session:
        plain = Plain(session, f"{service.url}{names.EAS_PREFIX}/svc")
        held, behind = await plain.put(), await plain.put()

        async def search(index: int, gid: str) -> dict[str, object]:
            answer = await plain.ask(
                "GET", f"?_search_=true&_index_={index}", headers={names.GROUP_HEADER: gid}
            )
            found = json.loads(answer.body)
            assert isinstance(found, dict)
            return found

        async def pending() -> object:
            return (await search(held, "svc"))["IsPending"]

        await wait_until(pending, "the workers' group, named after the service, holds it")
        place = await search(held, "svc")
        assert str(place["ConsumerId"]).startswith("svc.")
        assert place["WaitCount"] == 0
        assert await search(held, "eas") == {"ConsumerId": "", "IsPending": False, "WaitCount": 0}
        assert await search(behind, "svc") == {
            "ConsumerId": "",
            "IsPending": False,
            "WaitCount": 0,
        }
        await plain.truncate()
        missing = await plain.ask("GET", "?_search_=true&_index_=999")
        assert (missing.status, missing.body) == (404, b"no data in stream")


async def test_a_direct_client_gets_an_address(serve: Serve) -> None:
    url = await serve()
    host, _, port = url.removeprefix("http://").rpartition(":")
    async with aiohttp.ClientSession() as session:
        path = "/api/v1/servicediscovery/upstreams"
        async with session.get(f"{url}{path}/svc?internal=true") as answer:
            found = await answer.json()
        item = {"ip": host, "port": int(port), "weight": 100}
        assert found == {"endpoints": {"items": [item]}}
        # Nobody learns without a token which services there are.
        async with session.get(f"{url}{path}/nobody") as answer:
            assert await answer.json() == found

        told = await serve(direct_endpoints="gpu-1.example:80, 10.0.0.2:8080")
        async with session.get(f"{told}{path}/svc") as answer:
            items = (await answer.json())["endpoints"]["items"]
        assert [(item["ip"], item["port"]) for item in items] == [
            ("gpu-1.example", 80),
            ("10.0.0.2", 8080),
        ]


async def test_alibabas_client_finds_the_service_by_itself(pair: Pair) -> None:
    def talk() -> list[bytes]:
        client = pair.input(endpoint_type="DIRECT")
        client.put("found")
        return [item.data for item in client.get()]

    assert await asyncio.to_thread(talk) == [b"found"]
