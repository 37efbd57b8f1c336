"""The conformance checklist of the EAS protocol, items 13 to 22: watching a queue.

Driven by Alibaba's own SDK.  Tests are named by the item they show.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from client_sdk.wire import names
from tests.compatibility.conftest import Pair
from tests.compatibility.eas_sdk import EasSdk, EasWatch
from tests.conftest import StartService
from tests.leaks import wait_for_no_leaks
from tests.running import TOKEN, QueueServiceProcess, running_service
from tests.waiting import hold_for_blocking, wait_until_blocking

#: Seconds to watch that nothing more comes; a frame takes milliseconds.
QUIET_S = 0.4


def test_item_13_a_watch_holds_no_more_than_its_window(pair: Pair) -> None:
    queue = pair.input()
    for number in range(10):
        queue.put(str(number))
    watch = queue.watch(0, 5, auto_commit=False)
    frames = watch.wait_for(5)
    hold_for_blocking(QUIET_S, lambda: len(watch.frames) == 5, "a full window gets nothing")

    queue.commit(frames[0].index)
    watch.wait_for(6)
    hold_for_blocking(QUIET_S, lambda: len(watch.frames) == 6, "one commit makes room for one")
    assert [frame.text for frame in watch.frames] == ["0", "1", "2", "3", "4", "5"]


def test_item_14_commit_removes_one_entry_or_many_at_once(pair: Pair) -> None:
    queue = pair.input()
    for number in range(5):
        queue.put(str(number))
    indexes = [frame.index for frame in queue.watch(0, 5).wait_for(5)]
    assert queue.commit(indexes[0]) == b"OK"
    assert queue.length == 4
    assert queue.commit(indexes[1:]) == b"OK"
    assert queue.length == 0


def test_item_15_auto_commit_needs_no_window_and_leaves_nothing(pair: Pair) -> None:
    queue = pair.input()
    for number in range(10):
        queue.put(str(number))
    watch = queue.watch(0, 5, auto_commit=True)
    assert [frame.text for frame in watch.wait_for(10)] == [str(number) for number in range(10)]
    watch.close()
    wait_until_blocking(lambda: queue.length == 0, "the queue is empty")


def test_item_16_what_a_closed_watch_held_goes_to_another_in_its_group(pair: Pair) -> None:
    leaver, stayer = pair.input(uid="leaver"), pair.input(uid="stayer")
    indexes = [int(leaver.put(str(number))[0]) for number in range(6)]
    first = leaver.watch(0, 3, take=3)
    assert [frame.index for frame in first.wait_for(3)] == indexes[:3]
    first.close()

    second = stayer.watch(0, 10)
    second.wait_for(6)
    assert sorted(second.indexes) == indexes
    hold_for_blocking(QUIET_S, lambda: len(second.frames) == 6, "each comes once")


def test_item_17_watches_of_one_group_share_without_duplicates(pair: Pair) -> None:
    clients = [pair.input(uid="u1"), pair.input(uid="u2")]
    watches = [client.watch(0, 5, auto_commit=True) for client in clients]
    indexes = [int(clients[0].put(str(number))[0]) for number in range(20)]

    def seen() -> list[int]:
        return sorted(itertools.chain.from_iterable(watch.indexes for watch in watches))

    wait_until_blocking(lambda: len(seen()) >= 20, "both together have read 20 frames")
    assert seen() == indexes


def test_item_17_every_group_gets_everything(pair: Pair) -> None:
    one, other = pair.input(gid="one"), pair.input(gid="other")
    watches = [one.watch(0, 10), other.watch(0, 10)]
    indexes = [int(one.put(str(number))[0]) for number in range(6)]
    for watch in watches:
        watch.wait_for(6)
        assert watch.indexes == indexes


def test_item_18_index_only_frames_have_tags_and_no_data(pair: Pair) -> None:
    queue = pair.input()
    index, request_id = queue.put("payload", {"a": "1"})
    (frame,) = queue.watch(0, 5, index_only=True).wait_for(1)
    assert (frame.index, frame.data) == (int(index), b"")
    assert frame.tags == {"a": "1", "requestId": request_id}


def test_item_18_a_watch_with_tags_gets_only_what_carries_them(pair: Pair) -> None:
    queue = pair.input()
    queue.put("no tag")
    queue.put("other", {"a": "2"})
    queue.put("match", {"a": "1", "b": "2"})
    watch = queue.watch(0, 5, tags={"a": "1"})
    assert [frame.text for frame in watch.wait_for(1)] == ["match"]
    hold_for_blocking(QUIET_S, lambda: len(watch.frames) == 1, "nothing else matches")


def test_item_19_a_prioritised_entry_comes_first(pair: Pair) -> None:
    queue = pair.input()
    for text in ("a", "b", "c"):
        queue.put(text)
    queue.put("urgent", {"_priority_": "1"})
    frames = queue.watch(0, 5).wait_for(4)
    assert [frame.text for frame in frames] == ["urgent", "a", "b", "c"]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((4000, 12.0), id="three short leases"),
        pytest.param((10_000, 60.0), id="a minute", marks=[pytest.mark.slow]),
    ],
)
def quiet_watches(
    request: pytest.FixtureRequest,
    sdk: EasSdk,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[EasWatch, EasWatch, EasWatch]]:
    """Open an idle watch, one that stops reading, and one more; then let the time go by.

    The SDK pings every two seconds, so a lease must be longer than that.
    """
    lease_ms, seconds = request.param
    prefix = f"test-quiet-{lease_ms}"
    with running_service(
        tmp_path_factory.mktemp("quiet") / "service.log",
        redis_url=redis_url,
        key_prefix=prefix,
        services=[{"name": "svc"}],
        lease_ms=lease_ms,
    ) as service:
        sink = sdk.client(service.url, "svc/sink")
        idle = sink.watch()

        queue = sdk.client(service.url, "svc", uid="slow")
        slow = queue.watch(0, 5, take=1)
        for number in range(5):
            queue.put(str(number))
        slow.wait_for(1)
        other = sdk.client(service.url, "svc", uid="other").watch(0, 5)

        def each_connected_once() -> bool:
            return idle.connections == slow.connections == other.connections == 1

        wait_until_blocking(each_connected_once, "all watches are connected")
        hold_for_blocking(seconds, each_connected_once, "no watch is closed")
        sink.put("after the silence")
        yield idle, slow, other

        queue.commit(slow.indexes)
        sink.commit(idle.indexes)
        for watch in (idle, slow, other):
            watch.close()
        wait_for_no_leaks(redis_url, prefix)


@pytest.mark.timeout(120)
def test_item_20_an_idle_watch_stays_open(
    quiet_watches: tuple[EasWatch, EasWatch, EasWatch],
) -> None:
    idle, _, _ = quiet_watches
    assert [frame.text for frame in idle.wait_for(1)] == ["after the silence"]
    assert idle.connections == 1


@pytest.mark.timeout(120)
def test_item_32_a_slow_reader_is_not_disconnected_and_keeps_what_it_holds(
    quiet_watches: tuple[EasWatch, EasWatch, EasWatch],
) -> None:
    # A program that works on a frame reads nothing, so it answers no ping; but the SDK sends
    # pings of its own all the while, and those are its sign of life.
    _, slow, other = quiet_watches
    slow.take(4)
    assert [frame.text for frame in slow.wait_for(5)] == ["0", "1", "2", "3", "4"]
    assert slow.connections == 1
    assert other.frames == []


async def test_item_20_pings_are_answered(serve_url: str) -> None:
    query = {names.WATCH: "true", names.WINDOW: "1"}
    address = f"{serve_url}{names.EAS_PREFIX}/svc"
    async with (
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
        session.ws_connect(address, params=query, autoping=False) as watch,
    ):
        await watch.ping(b"ping")
        answer = await watch.receive(timeout=60)
        assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"ping")


@pytest.fixture
async def serve_url(service: QueueServiceProcess) -> str:
    return service.url


@pytest.mark.leaves_entries
async def test_item_21_after_a_restart_the_client_resumes_and_nothing_committed_returns(
    sdk: EasSdk, start_service: StartService
) -> None:
    service = await start_service()
    queue = sdk.client(service.url, "svc", uid="u1")
    for number in range(6):
        queue.put(str(number))
    watch = queue.watch(0, 3)
    queue.commit([frame.index for frame in watch.wait_for(3)[:2]])
    watch.wait_for(5)
    try:
        service.kill()
        await service.start()
        # The SDK tries once a second.  Held and not committed: 2, 3 and 4 come again; 5 never
        # came before; 0 and 1 were committed and are gone.
        again = watch.wait_for(8)[5:]
        assert [frame.text for frame in again] == ["2", "3", "4"]
        assert watch.connections == 2
    finally:
        watch.close()


async def test_item_21_a_graceful_restart_keeps_the_watch_as_well(
    sdk: EasSdk, start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service()
    queue = sdk.client(service.url, "svc", uid="u1")
    watch = queue.watch(0, 3, auto_commit=True)
    queue.put("before")
    watch.wait_for(1)
    try:
        assert await service.stop() == 0
        await service.start()
        queue.put("after")
        assert [frame.text for frame in watch.wait_for(2)] == ["before", "after"]
    finally:
        watch.close()


def test_item_22_a_second_connection_of_the_same_user_takes_over(pair: Pair) -> None:
    old, new = pair.input(uid="u1"), pair.input(uid="u1")
    # It reads one frame and no more, so that it does not notice its end and connect again.
    first = old.watch(0, 5, take=1)
    old.put("a")
    first.wait_for(1)

    second = new.watch(0, 5)
    old.put("b")
    assert [frame.text for frame in second.wait_for(2)] == ["a", "b"]
    new.commit(second.indexes)
    assert new.length == 0
    assert len(first.frames) == 1
