"""The conformance checklist of the EAS protocol, items 1 to 12: what is put can be got.

Driven by Alibaba's own SDK.  Tests are named by the item they show.
"""

import time

import pytest

from tests.compatibility.conftest import Pair
from tests.compatibility.eas_sdk import EasSdk
from tests.waiting import hold_for_blocking


def test_item_01_put_returns_an_index_and_a_request_id(pair: Pair) -> None:
    queue = pair.input()
    first_index, first_id = queue.put("a")
    second_index, second_id = queue.put("b")
    assert first_index.isdecimal()
    assert int(second_index) > int(first_index) > 0
    assert first_id
    assert second_id not in ("", first_id)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"\x00\x01\xff\x00", b"\x00\x01\xff\x00"),
        (b"", b""),
        ("héllo ✓", "héllo ✓".encode()),
    ],
    ids=["NULs", "empty", "not ASCII"],
)
def test_item_02_get_returns_the_very_bytes_that_were_put(
    pair: Pair, sent: str | bytes, expected: bytes
) -> None:
    queue = pair.input()
    queue.put(sent)
    assert [frame.data for frame in queue.get()] == [expected]


def test_item_03_tags_come_back_with_the_request_id_and_without_reserved_names(pair: Pair) -> None:
    queue = pair.input()
    _, request_id = queue.put("a", {"task": "t 1", "ключ": "знач=&", "_priority_": "1"})
    (frame,) = queue.get()
    assert frame.tags == {"task": "t 1", "ключ": "знач=&", "requestId": request_id}


def test_item_04_a_request_id_finds_an_entry_that_is_not_at_the_head(pair: Pair) -> None:
    queue = pair.input()
    ids = [queue.put(text)[1] for text in ("a", "b", "c")]
    assert [frame.text for frame in queue.get(request_id=ids[1])] == ["b"]

    began = time.monotonic()
    assert queue.get(request_id="no such id", timeout="1s") == []
    assert 0.5 < time.monotonic() - began < 4.5


def test_item_05_get_starts_at_the_index_and_returns_at_most_length_ascending(pair: Pair) -> None:
    queue = pair.input()
    indexes = [int(queue.put(str(number))[0]) for number in range(5)]
    assert queue.get(index=indexes[2], auto_delete=False)[0].index == indexes[2]
    frames = queue.get(index=indexes[1], length=3, auto_delete=False)
    assert [frame.index for frame in frames] == indexes[1:4]
    # More than there are: what there is, once the time is up.
    frames = queue.get(index=indexes[3], length=10, timeout="0", auto_delete=False)
    assert [frame.index for frame in frames] == indexes[3:]


def test_item_06_get_deletes_what_it_returned_only_when_asked_to(pair: Pair) -> None:
    queue = pair.input()
    queue.put("a")
    first = queue.get(auto_delete=False)
    assert queue.get(auto_delete=False) == first
    assert queue.length == 1

    assert queue.get(auto_delete=True) == first
    assert queue.length == 0
    assert queue.get(auto_delete=True, timeout="0") == []


def test_item_07_get_on_an_empty_queue_answers_before_the_client_gives_up(
    sdk: EasSdk, pair: Pair
) -> None:
    # The client's own time-out is 5 s, and its default poll is 5 s: an answer at 5.05 s
    # would make it ask six times, and each late answer would delete what it carries.
    queue = pair.input(retry_count=5)
    sdk.requests()
    began = time.monotonic()
    assert queue.get() == []
    assert time.monotonic() - began > 4.0
    # A client of an earlier test may still look for its own service meanwhile.
    asked = [path for _method, path in sdk.requests() if f"/{pair.service}?" in path]
    assert len(asked) == 1


def test_item_08_a_long_poll_ends_when_an_entry_arrives(pair: Pair) -> None:
    queue = pair.input()
    poll = queue.begin("get", timeout="3s")
    hold_for_blocking(0.5, lambda: not poll.done(), "the poll waits while the queue is empty")
    began = time.monotonic()
    queue.put("late")
    assert [frame.text for frame in poll.result(5)] == ["late"]
    assert time.monotonic() - began < 2.0, "it ended by itself"


@pytest.mark.parametrize("timeout", ["5", "0", "100ms", "1m0s", "1.5s", "0s"])
def test_item_09_every_way_to_write_a_timeout_is_accepted(pair: Pair, timeout: str) -> None:
    queue = pair.input()
    queue.put("a")
    assert [frame.text for frame in queue.get(timeout=timeout)] == ["a"]


@pytest.mark.parametrize("timeout", ["0", "100ms"])
def test_item_09_a_short_timeout_is_short(pair: Pair, timeout: str) -> None:
    began = time.monotonic()
    assert pair.input().get(timeout=timeout) == []
    assert time.monotonic() - began < 4.5, "the default of five seconds"


#: Attributes that every queue has, with any subscribers.
ATTRIBUTES = {
    "meta.name",
    "meta.backend",
    "meta.state",
    "meta.maxPayloadBytes",
    "meta.header.user",
    "meta.header.group",
    "meta.header.priority",
    "meta.header.userIdentifyHeader",
    "meta.header.groupIdentifyHeader",
    "stream.length",
    "stream.approxMaxLength",
    "stream.firstEntry",
    "stream.lastEntry",
    "consumers.status.total",
    "consumers.stats.total",
}


def test_item_10_attributes_are_texts_and_count_what_is_stored(pair: Pair) -> None:
    queue = pair.input()
    first, *_, last = [queue.put(text)[0] for text in ("a", "b", "c")]
    attributes = queue.attributes()
    assert set(attributes) >= ATTRIBUTES
    assert all(isinstance(value, str) for value in attributes.values())
    assert attributes["meta.name"] == pair.service
    assert attributes["meta.header.user"] == "X-EAS-QueueService-Redis-Uid"
    assert attributes["meta.header.group"] == "X-EAS-QueueService-Redis-Gid"
    assert attributes["meta.maxPayloadBytes"] == "8192"
    assert attributes["stream.approxMaxLength"] == "230399"
    assert attributes["stream.length"] == "3"
    assert (attributes["stream.firstEntry"], attributes["stream.lastEntry"]) == (first, last)
    assert attributes["consumers.status.total"] == "0"


def test_item_10_attributes_name_the_subscribers(pair: Pair) -> None:
    queue = pair.input(uid="u1", gid="team")
    for number in range(3):
        queue.put(str(number))
    queue.watch(0, 2, auto_commit=False).wait_for(2)
    attributes = queue.attributes()
    assert attributes["consumers.status.total"] == attributes["consumers.stats.total"] == "1"
    subscriber = attributes["consumers.list.[0]"]
    for part in ("Id: team.u1", "Pending: 2", "Status: Running", "Window: 2", "AutoCommit: false"):
        assert part in subscriber
    assert "Id: team" in attributes["groups.list.[0]"]


def test_item_11_truncate_removes_what_is_before_the_index(pair: Pair) -> None:
    queue = pair.input()
    indexes = [int(queue.put(str(number))[0]) for number in range(4)]
    assert queue.truncate(indexes[2]) == b"OK"
    assert queue.get(auto_delete=False)[0].index == indexes[2]
    assert queue.length == 2

    queue.truncate(int(queue.attributes()["stream.lastEntry"]) + 1)
    assert queue.length == 0
    # An index above everything that was ever stored is allowed too.
    assert queue.truncate(indexes[-1] + 1000) == b"OK"


def test_item_12_delete_removes_entries_and_may_be_repeated(pair: Pair) -> None:
    queue = pair.input()
    indexes = [queue.put(str(number))[0] for number in range(4)]
    assert queue.delete(indexes[1]) == "OK"
    assert queue.delete(indexes[1]) == "OK"
    assert queue.delete([indexes[0], indexes[3]]) == "OK"
    left = queue.get(length=10, timeout="0", auto_delete=False)
    assert [str(frame.index) for frame in left] == [indexes[2]]
