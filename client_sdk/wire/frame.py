"""Frames, the messages of the EAS protocol: index, tags, data and a message text.

Encodings: protobuf (one frame, or a list of frames) and JSON.  In JSON, data is base64, and an
empty message or an empty tag map is left out, as in the codec of EAS's Go client.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from client_sdk.wire.errors import WireError
from client_sdk.wire.proto import eas_pb2

#: The largest index there can be: some clients read it as a signed 64-bit number.
MAX_INDEX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One item as a client sees it.

    index: the position in its queue, 1 to 2**63 - 1; 0 on a frame that was never stored.
    tags: text to text; every stored frame has `requestId`.
    data: the payload; empty for index-only watches.
    message: text from the service to the client; usually empty.
    """

    index: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    data: bytes = b""
    message: str = ""


def encode(frame: Frame) -> bytes:
    """Return the frame as a DataFrameProto."""
    return _to_proto(frame).SerializeToString()


def decode(data: bytes) -> Frame:
    """Decode a DataFrameProto; raises WireError."""
    proto = eas_pb2.DataFrameProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise WireError("a DataFrameProto", f"{len(data)} other bytes") from error
    return _from_proto(proto)


def encode_list(frames: Iterable[Frame]) -> bytes:
    """Return the frames as a DataFrameListProto."""
    proto = eas_pb2.DataFrameListProto(index=[_to_proto(frame) for frame in frames])
    return proto.SerializeToString()


def decode_list(data: bytes) -> list[Frame]:
    """Decode a DataFrameListProto; raises WireError."""
    proto = eas_pb2.DataFrameListProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise WireError("a DataFrameListProto", f"{len(data)} other bytes") from error
    return [_from_proto(item) for item in proto.index]


def encode_attributes(attributes: Mapping[str, str]) -> bytes:
    """Return the attributes as an AttributesProto."""
    return eas_pb2.AttributesProto(attributes=dict(attributes)).SerializeToString()


def decode_attributes(data: bytes) -> dict[str, str]:
    """Decode an AttributesProto; raises WireError."""
    proto = eas_pb2.AttributesProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise WireError("an AttributesProto", f"{len(data)} other bytes") from error
    return dict(proto.attributes)


def encode_json_list(frames: Iterable[Frame]) -> bytes:
    """Return the frames as a JSON array, data in standard base64."""
    return json.dumps([_to_json(frame) for frame in frames], separators=(",", ":")).encode()


def decode_json_list(data: bytes) -> list[Frame]:
    """Decode a JSON array of frames; raises WireError."""
    try:
        return [_from_json(item) for item in json.loads(data)]
    # RecursionError: deeply nested brackets, which only an attacker sends.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WireError("a JSON array of frames", f"{len(data)} other bytes") from error


def _to_proto(frame: Frame) -> eas_pb2.DataFrameProto:
    return eas_pb2.DataFrameProto(
        index=frame.index, tags=frame.tags, data=frame.data, message=frame.message
    )


def _from_proto(proto: eas_pb2.DataFrameProto) -> Frame:
    return Frame(index=proto.index, tags=dict(proto.tags), data=proto.data, message=proto.message)


def _to_json(frame: Frame) -> dict[str, object]:
    item: dict[str, object] = {"index": frame.index}
    if frame.message:
        item["message"] = frame.message
    if frame.tags:
        item["tags"] = dict(frame.tags)
    item["data"] = base64.b64encode(frame.data).decode("ascii")
    return item


def _from_json(item: dict[str, Any]) -> Frame:
    index, tags, message = item["index"], item.get("tags") or {}, item.get("message") or ""
    if type(index) is not int or not 0 <= index <= MAX_INDEX:
        raise ValueError("the index is no index")
    texts = [message, *tags.keys(), *tags.values()]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("tags and message are text")
    "".join(texts).encode()  # Raises for unpaired surrogates, which JSON allows and UTF-8 does not.
    data = base64.b64decode(item.get("data") or "", validate=True)
    return Frame(index=index, tags=dict(tags), data=data, message=message)
