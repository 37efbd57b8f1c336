"""What the EAS API does beside the checklist: counts, ends, groups, forms, mounts, addresses.

By plain HTTP: these are the decisions that queue_service/PROTOCOL.md states.
"""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from client_sdk.wire import frame, names
from client_sdk.wire.codes import Code
from tests.compatibility.plain import Plain, Stream, plain_session
from tests.conftest import Serve
from tests.leaks import tasks_left
from tests.promises.peer import Peer
from tests.waiting import hold_for, wait_until


@pytest.fixture
async def plain(url: str) -> AsyncIterator[Plain]:
    async with plain_session() as session:
        asked = Plain(session, f"{url}{names.EAS_PREFIX}/svc")
        yield asked
        for queue in ("", "/sink"):
            await asked.truncate(queue)


# --- Counts


async def test_a_count_knows_tags_and_priorities(plain: Plain) -> None:
    for target in ("?colour=red", "?colour=red&size=1", "?colour=blue", "?_priority_=1"):
        await plain.put(target=target)
    counts = {
        "": "4",
        "&colour=red": "2",
        "&colour=red&size=1": "1",
        "&colour=green": "0",
        "&_priority_=1": "1",
        "&_priority_=0": "3",
        "&_priority_=1&colour=red": "0",
    }
    for query, count in counts.items():
        assert (await plain.ask("GET", f"?_count_=true{query}")).text == count, query


async def test_a_count_by_tag_looks_at_every_entry(plain: Plain) -> None:
    for start in range(0, 1200, 100):
        await asyncio.gather(*(plain.put(target=f"?n={n % 3}") for n in range(start, start + 100)))
    assert (await plain.ask("GET", "?_count_=true&n=1")).text == "400"


# --- The end of a stream


async def test_an_ended_queue_takes_no_puts_and_still_gives_out_what_it_has(plain: Plain) -> None:
    await plain.put("before")
    assert (await plain.ask("POST", "?_eos_=true")).text == "OK"

    refused = await plain.ask("POST", data=b"after")
    assert (refused.status, refused.headers[names.ERROR_CODE_HEADER]) == (409, Code.QUEUE_ENDED)
    assert "Retry-After" not in refused.headers
    assert (await plain.attributes())["meta.state"] == "End"
    assert await plain.read() == ["before"]
    assert await plain.put("a result", "/sink") == 1

    assert (await plain.ask("POST", "?_eos_=false")).text == "OK"
    assert (await plain.attributes())["meta.state"] == "Normal"
    await plain.put("again")
    assert await plain.read() == ["before", "again"]


async def test_a_result_comes_into_a_sink_that_was_ended(plain: Plain, url: str) -> None:
    peer = Peer(plain.session, 1)
    await peer.connect(url)
    index = await plain.put("question")
    await wait_until(lambda: index in peer.held, "it is worked on")
    await plain.ask("POST", "/sink?_eos_=true")
    assert (await plain.ask("POST", "/sink", b"from outside")).status == 409
    await peer.complete(index, data=b"answer")

    async def answered() -> bool:
        return await plain.read(queue="/sink") == ["answer"]

    await wait_until(answered, "the accepted job has its result")
    await plain.ask("POST", "/sink?_eos_=false")
    await peer.cut()


async def test_a_repeated_put_is_answered_after_the_end_too(plain: Plain) -> None:
    index = await plain.put(target="?requestId=one")
    await plain.ask("POST", "?_eos_=true")
    assert await plain.put(target="?requestId=one") == index
    await plain.ask("POST", "?_eos_=false")


async def test_a_forced_end_drops_what_nobody_holds(plain: Plain) -> None:
    held = await plain.put("held")
    async with plain.session.ws_connect(
        f"{plain.base}?_watch_=true&_window_=1", headers=plain.identity("u1")
    ) as watch:
        assert frame.decode((await watch.receive(5)).data).index == held
        for text in ("a", "b"):
            await plain.put(text, "?_priority_=1")
            await plain.put(text)
        assert (await plain.ask("POST", "?_eos_=true&_force_=true")).text == "OK"
        assert await plain.read() == ["held"]
        headers = plain.identity("u1")
        assert (await plain.ask("PUT", f"?_indexes_={held}", headers=headers)).text == "OK"
    assert await plain.length() == 0
    await plain.ask("POST", "?_eos_=false")


# --- Watches without a WebSocket


async def test_a_watch_without_a_websocket_is_frames_behind_their_lengths(plain: Plain) -> None:
    first = await plain.put("a" * 5000, "?k=v")
    query = "?_watch_=true&_index_=0&_window_=2&_index_only_=false&_auto_commit_=false"
    headers = {**plain.identity("u1"), "Accept": names.PROTOBUF}
    async with plain.session.get(f"{plain.base}{query}", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == names.PROTOBUF
        stream = Stream(answer)
        found = await stream.next()
        assert (found.index, found.data, found.tags["k"]) == (first, b"a" * 5000, "v")
        later = await plain.put("b")
        assert (await stream.next()).index == later
        beyond = await plain.put("beyond the window")
        assert "Pending: 2" in (await plain.attributes())["consumers.list.[0]"]
    # What it held goes to the next one once its connection is gone.
    async with plain.session.get(f"{plain.base}{query}", headers=plain.identity("u2")) as answer:
        stream = Stream(answer)
        assert {(await stream.next()).index, (await stream.next()).index} == {first, beyond}


async def test_index_only_and_auto_commit_hold_without_a_websocket_too(plain: Plain) -> None:
    index = await plain.put("payload")
    query = "?_watch_=true&_window_=1&_index_only_=true&_auto_commit_=true"
    async with plain.session.get(f"{plain.base}{query}") as answer:
        found = await Stream(answer).next()
        assert (found.index, found.data) == (index, b"")

        async def empty() -> bool:
            return await plain.length() == 0

        await wait_until(empty, "it is committed")


async def test_an_idle_watch_without_a_websocket_outlives_its_lease(serve: Serve) -> None:
    base = f"{await serve(lease_ms=300)}{names.EAS_PREFIX}/svc"
    async with plain_session() as session:
        plain = Plain(session, base)
        async with session.get(f"{base}?_watch_=true&_auto_commit_=true") as answer:

            async def running() -> bool:
                return "Status: Running" in (await plain.attributes())["consumers.list.[0]"]

            await hold_for(1.0, running, "it stays subscribed")
            await plain.put("x")
            assert (await Stream(answer).next()).data == b"x"


# --- Where a read begins


async def test_minus_one_reads_the_newest_that_match_in_their_order(plain: Plain) -> None:
    indexes = [await plain.put(str(n), f"?even={n % 2 == 0}") for n in range(8)]
    await plain.ask("DELETE", f"?_indexes_={indexes[6]}")
    newest = f"{names.RAW}=false&{names.INDEX}=-1&{names.AUTO_DELETE}=false"

    async def read(query: str) -> list[str]:
        answer = await plain.ask("GET", f"?{newest}&{query}")
        return [item.data.decode() for item in answer.frames]

    assert await read("") == ["7"]
    assert await read("_length_=3") == ["4", "5", "7"]
    assert await read("_length_=2&even=True") == ["2", "4"]
    assert await read("_length_=100") == [str(n) for n in (0, 1, 2, 3, 4, 5, 7)]
    assert await read("colour=red") == []


async def test_a_watch_from_minus_one_gets_only_what_comes_from_now_on(plain: Plain) -> None:
    await plain.put("old")
    query = "?_watch_=true&_window_=5&_index_=-1"
    async with plain.session.ws_connect(f"{plain.base}{query}") as watch:
        new = await plain.put("new")
        assert frame.decode((await watch.receive(5)).data).index == new


async def test_a_get_filters_by_all_of_its_tags(plain: Plain) -> None:
    for number, target in enumerate(("?a=1", "?a=1&b=2", "?b=2", "?a=1&b=2&c=3")):
        await plain.put(str(number), target)
    assert await plain.read("a=1&b=2") == ["1", "3"]
    assert await plain.read("a=2") == []


async def test_a_poll_for_several_ends_when_they_are_all_there(plain: Plain) -> None:
    first = await plain.put("a")
    take = f"{names.AUTO_DELETE}=true"
    query = f"?{names.RAW}=false&{names.LENGTH}=3&{names.TIMEOUT}=20s&{take}"
    poll = asyncio.create_task(plain.ask("GET", query))
    await hold_for(0.2, lambda: not poll.done(), "one is not three")
    await plain.put("b")
    await hold_for(0.2, lambda: not poll.done(), "two are not three")
    # One of those that it has seen goes: it waits for another.
    await plain.ask("DELETE", f"?_indexes_={first}")
    await plain.put("c")
    await hold_for(0.2, lambda: not poll.done(), "two are not three")
    await plain.put("d")
    answer = await asyncio.wait_for(poll, 30)
    assert [item.data for item in answer.frames] == [b"b", b"c", b"d"]


async def test_a_poll_whose_client_has_left_ends(plain: Plain) -> None:
    before = len(tasks_left())
    poll = asyncio.create_task(plain.ask("GET", f"?{names.TIMEOUT}=60s"))
    await wait_until(lambda: len(tasks_left()) > before + 1, "the poll is served")
    poll.cancel()
    await wait_until(lambda: len(tasks_left()) <= before, "no task serves it any more")


# --- Forms


async def test_the_form_of_an_answer_follows_accept_and_raw(plain: Plain) -> None:
    index = await plain.put("payload", "?k=v")
    keep = f"{names.AUTO_DELETE}=false"

    raw = await plain.ask("GET", f"?{keep}", headers={"Accept": names.PROTOBUF})
    assert (raw.body, raw.headers["Content-Type"]) == (b"payload", "application/octet-stream")
    assert raw.headers[names.INDEX_HEADER] == str(index)
    assert json.loads(raw.headers[names.TAGS_HEADER])["k"] == "v"

    for accept in ("application/json", "*/*", ""):
        answer = await plain.ask("GET", f"?{keep}&_raw_=false", headers={"Accept": accept})
        assert answer.headers["Content-Type"].startswith(names.JSON)
        (item,) = json.loads(answer.body)
        assert set(item) == {"index", "tags", "data"}
        assert (item["index"], item["data"]) == (index, "cGF5bG9hZA==")

    answer = await plain.ask("GET", f"?{keep}&_raw_=false", headers={"Accept": names.PROTOBUF})
    assert answer.headers["Content-Type"] == names.PROTOBUF
    assert [item.index for item in frame.decode_list(answer.body)] == [index]


async def test_a_form_that_nobody_reads_is_refused_and_takes_nothing(plain: Plain) -> None:
    await plain.put("payload")
    for query in ("?_raw_=false", "?_attrs_=true"):
        assert (await plain.ask("GET", query, headers={"Accept": names.FLATBUFFERS})).status == 406
    assert await plain.read() == ["payload"]


async def test_several_with_raw_are_one(plain: Plain) -> None:
    for text in ("a", "b"):
        await plain.put(text)
    assert (await plain.ask("GET", "?_length_=2&_auto_delete_=true")).body == b"a"
    assert await plain.read() == ["b"]


# --- What only reads


@pytest.mark.parametrize("query", ["", "?_raw_=false", "?_timeout_=0s&_length_=1", "?_index_=-1"])
async def test_a_readiness_check_takes_no_job_from_the_input_queue(
    plain: Plain, query: str
) -> None:
    await plain.put("job")
    for _ in range(2):
        assert (await plain.ask("GET", query)).status == 200
    assert await plain.read() == ["job"]
    taken = await plain.ask("GET", f"{query or '?'}&{names.AUTO_DELETE}=true".replace("?&", "?"))
    assert taken.status == 200
    assert await plain.length() == 0


async def test_a_poll_of_the_sink_still_takes_its_result(plain: Plain) -> None:
    await plain.put("result", "/sink")
    assert (await plain.ask("GET", "/sink")).body == b"result"
    assert (await plain.ask("GET", "/sink")).status == 204


@pytest.mark.parametrize("queue", ["", "/sink"])
async def test_methods_that_read_change_nothing(plain: Plain, queue: str) -> None:
    index = await plain.put("kept", queue)
    for method in ("HEAD", "OPTIONS"):
        await plain.ask(method, queue)
        await plain.ask(method, f"{queue}?{names.AUTO_DELETE}=true")
    for query in (
        f"{names.INDEXES}={index}",
        f"{names.TRUNCATE}=true&{names.INDEX}={index + 1}",
        f"{names.NEGATIVE}=true",
        f"{names.END_OF_STREAM}=true&{names.FORCE}=true",
    ):
        answer = await plain.ask("GET", f"{queue}?{query}&{names.AUTO_DELETE}=true")
        assert answer.status == 400, answer.text
        assert "PUT, POST or DELETE" in answer.text
    assert await plain.read(queue=queue) == ["kept"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Mode": "no-cors"},
        {"Sec-Purpose": "prefetch"},
        {"Purpose": "prefetch"},
    ],
)
async def test_a_browser_that_opens_a_link_takes_no_result(
    plain: Plain, headers: dict[str, str]
) -> None:
    await plain.put("result", "/sink")
    await plain.ask("GET", "/sink", headers=headers)
    assert await plain.read(queue="/sink") == ["result"]


# --- Mounts and paths


async def test_the_bare_mount_is_the_first_service(serve: Serve) -> None:
    base = await serve(bare_mount=True)
    async with plain_session() as session:
        bare, long = Plain(session, base), Plain(session, f"{base}{names.EAS_PREFIX}/svc")
        await bare.put("in", "/")
        await bare.put("out", "/sink")
        await bare.put("below", "/any/path")
        assert (await long.read(), await long.read(queue="/sink")) == (["in", "below"], ["out"])
        for queue in ("", "/sink"):
            await long.truncate(queue)


async def test_only_the_first_segment_sink_names_the_sink(plain: Plain) -> None:
    for target in ("/sink", "/sink/below", "/sinks", "/a/sink"):
        await plain.put(target, target)
    assert await plain.read(queue="/sink") == ["/sink", "/sink/below"]
    assert await plain.read() == ["/sinks", "/a/sink"]


# --- Priorities


async def test_a_priority_counts_once_by_query_or_by_header(plain: Plain) -> None:
    header = names.PRIORITY_HEADER
    await plain.put("normal")
    await plain.put("by header", headers={header: "3"})
    await plain.put("by both", "?_priority_=1", headers={header: "1"})
    await plain.put("the query wins", "?_priority_=0", headers={header: "1"})
    async with plain.session.ws_connect(f"{plain.base}?_watch_=true&_window_=9") as watch:
        frames = [frame.decode((await watch.receive(5)).data) for _ in range(4)]
    assert [item.data.decode() for item in frames] == [
        "by header",
        "by both",
        "normal",
        "the query wins",
    ]
    assert all(not name.startswith("_") for item in frames for name in item.tags)
