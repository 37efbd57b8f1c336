"""Each verb is the request that the EAS protocol has for it, and reads its answer."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from client_sdk import calls, errors
from client_sdk.calls import MAX_INDEXES, Answer, Call, Position, Receipt, Retry
from client_sdk.wire import frame as wire
from client_sdk.wire import names
from client_sdk.wire.errors import WireError
from client_sdk.wire.frame import Frame


def query(call: Call[Any]) -> dict[str, str]:
    return dict(parse_qsl(call.query, keep_blank_values=True, strict_parsing=True))


def ok(body: bytes = b"", **headers: str) -> Answer:
    return Answer(200, headers, body)


def test_a_put_carries_its_data_tags_request_id_and_key() -> None:
    call = calls.put(b"\x00data", tags={"k": "v 1", "ä": "&="}, request_id="r", idempotency_key="i")
    assert (call.method, call.path, call.body) == ("POST", "", b"\x00data")
    assert query(call) == {"k": "v 1", "ä": "&=", "requestId": "r"}
    assert call.headers == {"Idempotency-Key": "i"}
    assert call.retry is Retry.FREELY


def test_a_put_of_text_is_utf_8() -> None:
    assert calls.put("héllo").body == b"h\xc3\xa9llo"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_put_takes_any_kind_of_bytes(kind: Any) -> None:
    assert calls.put(kind(b"a")).body == b"a"


@pytest.mark.parametrize("data", [{"text": "hello"}, None, 7, ["a"]])
def test_a_put_of_anything_else_says_what_it_takes(data: Any) -> None:
    with pytest.raises(TypeError, match=rf"bytes or str, got {type(data).__name__}; for JSON"):
        calls.put(data)


def test_a_put_without_a_request_id_makes_one_that_is_also_its_key() -> None:
    first, second = calls.put(b""), calls.put(b"")
    assert query(first)["requestId"] == first.headers[names.IDEMPOTENCY_HEADER]
    assert query(first)["requestId"] != query(second)["requestId"]


def test_two_puts_for_one_request_id_are_two_entries() -> None:
    # The results of one request share its id; they must not be taken for one put sent twice.
    first, second = calls.put(b"1", request_id="r"), calls.put(b"2", request_id="r")
    assert first.headers[names.IDEMPOTENCY_HEADER] != second.headers[names.IDEMPOTENCY_HEADER]


def test_a_put_says_its_priority_path_and_content_type_only_when_it_has_them() -> None:
    call = calls.put(b"", priority=1, path="/v1/über uns/", content_type="text/plain")
    assert query(call)["_priority_"] == "1"
    assert call.path == "/v1/%C3%BCber%20uns/"
    assert call.headers["Content-Type"] == "text/plain"
    plain = calls.put(b"")
    assert set(query(plain)) == {"requestId"}
    assert set(plain.headers) == {"Idempotency-Key"}


@pytest.mark.parametrize("name", ["_index_", "_x_", "requestId"])
def test_a_tag_with_a_name_of_the_protocol_is_refused_before_anything_is_sent(name: str) -> None:
    with pytest.raises(errors.BadParameter, match=name):
        calls.put(b"", tags={name: "x"})


@pytest.mark.parametrize("path", ["sink", "/sink/", "sink/deeper"])
def test_a_path_that_would_reach_the_sink_is_refused(path: str) -> None:
    with pytest.raises(errors.BadParameter, match="sink"):
        calls.put(b"", path=path)


@pytest.mark.parametrize("text", ["a b", "a\r\nX-Other: b", "ä", "\x00"])
def test_an_id_that_cannot_travel_in_a_header_is_refused(text: str) -> None:
    with pytest.raises(errors.BadParameter, match="request id"):
        calls.put(b"", request_id=text)
    with pytest.raises(errors.BadParameter, match="idempotency key"):
        calls.put(b"", idempotency_key=text)


def test_a_put_is_answered_with_an_index_and_a_request_id() -> None:
    call = calls.put(b"")
    assert call.parse(ok(b"42", **{names.REQUEST_ID_HEADER: "r"})) == Receipt(42, "r")


def test_a_get_asks_for_an_envelope_and_says_everything() -> None:
    call = calls.get(
        index=3, length=10, timeout_s=1.5, auto_delete=False, request_id="r", tags={"a": "b"}
    )
    assert (call.method, call.headers) == ("GET", {"Accept": names.PROTOBUF})
    assert query(call) == {
        "_index_": "3",
        "_length_": "10",
        "_timeout_": "1500ms",
        "_raw_": "false",
        "_auto_delete_": "false",
        "requestId": "r",
        "a": "b",
    }
    assert call.wait_s == 1.5


def test_only_a_get_that_deletes_is_not_repeated_blindly() -> None:
    assert calls.get(auto_delete=True).retry is Retry.IF_NOT_DONE
    assert calls.get(auto_delete=False).retry is Retry.FREELY


def test_a_get_is_answered_with_frames_or_with_nothing() -> None:
    frames = [Frame(1, {"requestId": "r"}, b"x")]
    call = calls.get()
    assert call.parse(ok(wire.encode_list(frames))) == frames
    assert call.parse(Answer(204, {}, b"")) == []
    assert 204 in call.passes


@pytest.mark.parametrize(
    ("entries", "indexes"),
    [(5, "5"), (Frame(6), "6"), ([1, Frame(2), 3], "1,2,3"), ((n for n in (8, 9)), "8,9")],
)
def test_entries_are_indexes_or_frames_one_or_many(entries: calls.Entries, indexes: str) -> None:
    assert query(calls.commit(entries)) == {"_indexes_": indexes}


def test_commit_reject_delete_and_truncate_are_those_of_the_protocol() -> None:
    commit, delete, truncate = calls.commit(1), calls.delete([1, 2]), calls.truncate(5)
    assert (commit.method, commit.body) == ("PUT", None)
    assert (delete.method, delete.query) == ("DELETE", "_indexes_=1,2")
    assert (truncate.method, truncate.query) == ("DELETE", "_index_=5&_trunc_=true")
    reject = calls.reject([1, 2], code="Shutdown", reason="a b&c")
    assert (reject.method, query(reject)) == ("PUT", {"_indexes_": "1,2", "_negative_": "true"})
    assert reject.body == b"_code_=Shutdown&_reason_=a+b%26c"
    assert reject.retry is Retry.IF_NOT_DONE
    for call in (commit, delete, truncate):
        assert call.retry is Retry.FREELY
        assert call.parse(ok(b"OK")) is None


def test_many_entries_are_divided_into_requests_of_a_bearable_length() -> None:
    largest = range(2**63 - 1000, 2**63)
    batches = list(calls.in_batches(largest))
    assert [index for batch in batches for index in batch] == list(largest)
    assert max(map(len, batches)) == MAX_INDEXES
    assert max(len(calls.commit(batch).query) for batch in batches) < 8000
    assert list(calls.in_batches([])) == []


def test_a_search_finds_a_position_or_nothing() -> None:
    call = calls.search(7)
    assert query(call) == {"_search_": "true", "_index_": "7"}
    found = b'{"ConsumerId":"eas.u1","IsPending":false,"WaitCount":3}'
    assert call.parse(ok(found)) == Position(pending=False, waiting=3, subscriber="eas.u1")
    assert call.parse(Answer(404, {}, b"no data in stream")) is None


def test_a_search_in_a_service_that_is_not_there_is_an_error() -> None:
    with pytest.raises(errors.NoSuchService):
        calls.search(7).parse(Answer(404, {names.ERROR_CODE_HEADER: "NO_SUCH_SERVICE"}, b""))


def test_attributes_are_text_to_text() -> None:
    call = calls.attributes()
    assert query(call) == {"_attrs_": "true"}
    assert call.parse(ok(wire.encode_attributes({"stream.length": "3"}))) == {"stream.length": "3"}


def test_a_count_is_a_number() -> None:
    assert query(calls.count()) == {"_count_": "true"}
    assert calls.count().parse(ok(b"12")) == 12


def test_a_watch_says_everything_in_its_query() -> None:
    asked = calls.watch_query(
        index=-1, window=9, index_only=True, auto_commit=True, tags={"a": "b"}
    )
    assert asked == ("_watch_=true&_index_=-1&_window_=9&_index_only_=true&_auto_commit_=true&a=b")


@pytest.mark.parametrize("make", [calls.get, calls.watch_query])
def test_a_filter_cannot_have_a_name_of_the_protocol(make: Callable[..., object]) -> None:
    with pytest.raises(errors.BadParameter):
        make(tags={"_raw_": "true"})


@pytest.mark.parametrize(
    "call", [calls.put(b""), calls.get(), calls.search(1), calls.count(), calls.attributes()]
)
def test_an_answer_that_is_not_the_protocols_is_a_wire_error(call: Call[object]) -> None:
    with pytest.raises(WireError):
        call.parse(ok(b"<html>"))
