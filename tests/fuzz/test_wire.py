"""The contract with any bytes: a message, or a WireError, and what was written is read again."""

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire import frame, worker
from client_sdk.wire.duration import parse_duration
from client_sdk.wire.errors import WireError
from client_sdk.wire.proto import worker_pb2
from tests.fuzz.cases import cases

DECODERS: list[Any] = [
    frame.decode,
    frame.decode_list,
    frame.decode_attributes,
    frame.decode_json_list,
    worker.decode_from_worker,
    worker.decode_to_worker,
]
TEXTS = st.text(max_size=20)
FRAMES = st.builds(
    frame.Frame,
    index=st.integers(0, frame.MAX_INDEX),
    tags=st.dictionaries(TEXTS, TEXTS, max_size=3),
    data=st.binary(max_size=40),
    message=TEXTS,
)


@cases(0.13)
@given(st.sampled_from(DECODERS), st.binary(max_size=100))
def test_any_bytes_are_a_message_or_none(decoder: Any, data: bytes) -> None:
    with contextlib.suppress(WireError):
        decoder(data)


@cases(0.13)
@given(st.sampled_from(DECODERS), FRAMES, st.integers(0, 200), st.integers(0, 255))
def test_a_message_with_a_wrong_byte_is_a_message_or_none(
    decoder: Any, written: frame.Frame, at: int, byte: int
) -> None:
    for data in (frame.encode(written), frame.encode_list([written] * 2), _deliveries(written)):
        broken = bytearray(data)
        if broken:
            broken[at % len(broken)] = byte
        with contextlib.suppress(WireError):
            decoder(bytes(broken))


@cases(0.06)
@given(st.lists(FRAMES, max_size=3))
def test_frames_are_read_as_they_were_written(frames: list[frame.Frame]) -> None:
    assert frame.decode_list(frame.encode_list(frames)) == frames
    assert frame.decode_json_list(frame.encode_json_list(frames)) == frames


@cases(0.03)
@given(st.text(alphabet="0123456789.hmsuµn-e+ ", max_size=40))
def test_any_text_is_a_duration_or_none(text: str) -> None:
    with contextlib.suppress(WireError):
        assert parse_duration(text) >= 0


def _deliveries(written: frame.Frame) -> bytes:
    proto = worker_pb2.ToWorker()
    delivery = proto.deliver.deliveries.add()
    delivery.index, delivery.data = written.index, written.data
    delivery.tags.update(written.tags)
    return proto.SerializeToString()
