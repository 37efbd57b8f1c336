"""Frames on the EAS wire: the protocol's own bytes, and whatever else a socket may bring."""

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from client_sdk.wire import frame as wire
from client_sdk.wire.errors import WireError
from client_sdk.wire.frame import Frame

# Made with the protobuf classes of Alibaba's own Python SDK.
GOLDEN = Frame(index=7, tags={"requestId": "r"}, data=b"hi", message="m")
GOLDEN_FRAME = bytes.fromhex("0807120e0a097265717565737449641201721a02686922016d")
GOLDEN_LIST = bytes.fromhex("0a190807120e0a097265717565737449641201721a02686922016d")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
frames = st.builds(
    Frame,
    index=st.integers(0, 2**63 - 1),
    tags=st.dictionaries(texts, texts, max_size=4),
    data=st.binary(max_size=64),
    message=texts,
)


def test_a_frame_has_the_bytes_of_alibabas_sdk() -> None:
    assert wire.encode(GOLDEN) == GOLDEN_FRAME
    assert wire.decode(GOLDEN_FRAME) == GOLDEN


def test_a_list_of_frames_has_the_bytes_of_alibabas_sdk() -> None:
    assert wire.encode_list([GOLDEN]) == GOLDEN_LIST
    assert wire.decode_list(GOLDEN_LIST) == [GOLDEN]


def test_an_empty_list_is_no_bytes_at_all() -> None:
    assert wire.encode_list([]) == b""
    assert wire.decode_list(b"") == []


def test_json_leaves_out_empty_tags_and_an_empty_message() -> None:
    assert wire.encode_json_list([Frame(index=1, data=b"\x00\xff")]) == (
        b'[{"index":1,"data":"AP8="}]'
    )


def test_json_data_may_be_missing_as_the_go_codec_leaves_it_out() -> None:
    assert wire.decode_json_list(b'[{"index":1,"tags":null}]') == [Frame(index=1)]


@given(frames)
def test_a_frame_survives_protobuf(frame: Frame) -> None:
    assert wire.decode(wire.encode(frame)) == frame


@given(st.lists(frames, max_size=4))
def test_frames_survive_protobuf_and_json_lists(many: list[Frame]) -> None:
    assert wire.decode_list(wire.encode_list(many)) == many
    assert wire.decode_json_list(wire.encode_json_list(many)) == many


@given(st.dictionaries(texts, texts, max_size=6))
def test_attributes_survive_protobuf(attributes: dict[str, str]) -> None:
    assert wire.decode_attributes(wire.encode_attributes(attributes)) == attributes


def test_the_largest_index_survives() -> None:
    assert wire.decode(wire.encode(Frame(index=2**63 - 1))).index == 2**63 - 1


@given(st.binary(max_size=200))
@example(b"\x0a\xff\xff\xff\xff\x0f")
@example(b"\x12\x04\x0a\x02\xff\xfe")
def test_foreign_bytes_are_a_frame_or_a_wire_error(data: bytes) -> None:
    for decode in (wire.decode, wire.decode_list, wire.decode_attributes):
        with contextlib.suppress(WireError):
            decode(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["index", "tags", "data", "message"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
@example([{"index": float("inf")}])
@example([{"index": 1, "tags": {"a": 1}}])
@example([{"index": 1, "tags": "ab"}])
@example([{"index": 1, "data": "ä"}])
def test_foreign_json_is_frames_or_a_wire_error(value: object) -> None:
    try:
        decoded = wire.decode_json_list(json.dumps(value).encode())
    except WireError:
        return
    for frame in decoded:
        assert wire.decode(wire.encode(frame)) == frame


@pytest.mark.parametrize(
    "text", [b"", b"[", b"\xff\xfe", b"nonsense", b"[" * 100_000, b"1" * 10_000]
)
def test_text_that_is_no_json_is_a_wire_error(text: bytes) -> None:
    with pytest.raises(WireError, match="expected a JSON array of frames"):
        wire.decode_json_list(text)
