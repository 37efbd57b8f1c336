"""One pure function per operation: from arguments to a request.  No I/O.

A `Call` has everything about a request before it is sent: its target and body, how to parse the
response, and whether it may be sent a second time.
"""

import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar, cast
from urllib.parse import quote, urlencode

from client_sdk import errors
from client_sdk.content import Content
from client_sdk.refusals import from_answer
from client_sdk.wire import frame as frames
from client_sdk.wire import names
from client_sdk.wire.errors import WireError
from client_sdk.wire.frame import Frame

T = TypeVar("T")

#: Most indexes in one request.  At 20 digits and a comma each, they stay below the 8 KB that most
#: servers accept as a request line.
MAX_INDEXES = 350

#: An entry is named by its index, or by the frame that carries it.
Entry = int | Frame
Entries = Entry | Iterable[Entry]

#: What can be put: bytes, text, a path, or a file that is open in binary mode.
Data = bytes | str | os.PathLike[str] | BinaryIO


class Retry(Enum):
    """When a call may be sent again after it failed."""

    #: A repetition changes nothing: reads, idempotent operations, and a put with its key.
    FREELY = "freely"
    #: Only if the service certainly did not execute it: no connection was made, or the service
    #: itself reported that it changed nothing.
    IF_NOT_DONE = "if not done"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request to one queue.

    path: below the queue's own, percent-encoded; "" or beginning with a slash.
    query: encoded, without the question mark.
    body: what is sent; a Content in pieces.
    parse: reads the response; raises WireError if it does not follow the protocol.
    passes: the statuses that `parse` accepts; any other is an error.
    wait_s: how long the service is asked to wait before it responds, in seconds.
    """

    verb: str
    method: str
    parse: Callable[[Answer], T]
    query: str = ""
    path: str = ""
    body: bytes | Content | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry: Retry = Retry.FREELY
    passes: frozenset[int] = frozenset({200})
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a put returns: the entry's index, and the request id that its result will carry."""

    index: int
    request_id: str


@dataclass(frozen=True, slots=True)
class Position:
    """The position of an entry in its queue.

    pending: a subscriber works on it now.  waiting: the number of entries before it.
    subscriber: the holder, as group.user; "" if there is none.
    """

    pending: bool
    waiting: int
    subscriber: str


def put(
    data: Data,
    *,
    tags: Mapping[str, str] | None = None,
    priority: int = 0,
    request_id: str = "",
    idempotency_key: str = "",
    path: str = "",
    content_type: str = "",
) -> Call[Receipt]:
    """Store an entry.

    The idempotency key is part of the call, so repetitions store at most one entry.
    Raises BadParameter if a tag or path has a reserved name or an id does not fit into a header,
    and TypeError for data that is neither bytes nor text nor a file.
    """
    body = body_of(data)
    if path.strip("/").split("/")[0] == names.SINK:
        raise errors.BadParameter("the path 'sink' is reserved for the sink itself")
    for name, text in (("request id", request_id), ("idempotency key", idempotency_key)):
        # Both are sent as headers, which allow nothing else.
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise errors.BadParameter(f"expected a {name} of printable ASCII, got {text[:64]!r}")
    # Several entries may share a request id, as the results of one request do.  So a request id of
    # the caller does not identify this put, and a new key is made.
    key = idempotency_key or str(uuid.uuid4())
    fields = dict(tags) if tags else {}
    for name in fields:
        if names.is_reserved(name) or name == names.REQUEST_ID_TAG:
            raise errors.BadParameter(f"a tag cannot be named {name!r}: the protocol uses it")
    fields[names.REQUEST_ID_TAG] = request_id or key
    if priority:
        fields[names.PRIORITY] = str(priority)
    # Hot path: most puts carry only a generated id, which needs no encoding.
    plain = len(fields) == 1 and not request_id and not idempotency_key
    headers = {names.IDEMPOTENCY_HEADER: key}
    if content_type:
        headers["Content-Type"] = content_type
    return Call(
        "put",
        "POST",
        _receipt,
        query=f"{names.REQUEST_ID_TAG}={key}" if plain else urlencode(fields),
        path="/" + quote(path.lstrip("/")) if path else "",
        body=body,
        headers=headers,
    )


def get(
    *,
    index: int = 0,
    length: int = 1,
    timeout_s: float = 0.0,
    auto_delete: bool = True,
    request_id: str = "",
    tags: Mapping[str, str] | None = None,
) -> Call[list[Frame]]:
    """Read frames, and with `auto_delete` remove them.

    A get that deletes is not repeated after its response was lost: the frames may already be
    deleted, and a second get would return the next ones as if nothing had happened.  It raises
    AnswerLost instead.
    """
    query = {
        names.INDEX: str(index),
        names.LENGTH: str(length),
        names.TIMEOUT: f"{round(timeout_s * 1000)}ms",
        names.RAW: "false",
        names.AUTO_DELETE: _boolean(auto_delete),
        **_filter(tags, request_id),
    }
    return Call(
        "get",
        "GET",
        _frames,
        query=urlencode(query),
        headers={"Accept": names.PROTOBUF},
        retry=Retry.IF_NOT_DONE if auto_delete else Retry.FREELY,
        passes=frozenset({200, 204}),
        wait_s=timeout_s,
    )


def commit(entries: Entries) -> Call[None]:
    """Commit entries: they are done and leave the queue; at most MAX_INDEXES at once."""
    return Call("commit", "PUT", _nothing, query=_indexes(entries))


def reject(entries: Entries, *, code: str = "", reason: str = "") -> Call[None]:
    """Return entries to be delivered again; EAS calls it a negative commit.

    Not repeated if it may have been executed: the entry may already be delivered to the same
    subscriber again, and a second reject would hit that new delivery.
    """
    return Call(
        "reject",
        "PUT",
        _nothing,
        query=f"{_indexes(entries)}&{names.NEGATIVE}=true",
        body=urlencode({names.CODE: code, names.REASON: reason}).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        retry=Retry.IF_NOT_DONE,
    )


def delete(entries: Entries) -> Call[None]:
    """Remove entries, even if a subscriber holds them; at most MAX_INDEXES at once."""
    return Call("delete", "DELETE", _nothing, query=_indexes(entries))


def truncate(index: int) -> Call[None]:
    """Remove every entry before `index`; the entry at `index` stays."""
    return Call(
        "truncate", "DELETE", _nothing, query=f"{names.INDEX}={index}&{names.TRUNCATE}=true"
    )


def search(index: int) -> Call[Position | None]:
    """Look up the position of an entry; None if the queue has no entry with this index."""
    return Call(
        "search",
        "GET",
        _position,
        query=f"{names.SEARCH}=true&{names.INDEX}={index}",
        passes=frozenset({200, 404}),
    )


def attributes() -> Call[dict[str, str]]:
    """Read the queue's attributes: its limits, its length, its subscribers."""
    return Call(
        "attributes",
        "GET",
        lambda answer: frames.decode_attributes(answer.body),
        query=f"{names.ATTRIBUTES}=true",
        headers={"Accept": names.PROTOBUF},
    )


def count(*, tags: Mapping[str, str] | None = None, priority: int | None = None) -> Call[int]:
    """Count the stored entries with these tags and this priority."""
    query = {names.COUNT: "true", **_filter(tags)}
    if priority is not None:
        query[names.PRIORITY] = str(priority)
    return Call("count", "GET", _number, query=urlencode(query))


def end_stream(*, ended: bool, force: bool = False) -> Call[None]:
    """End the stream, so that puts are refused, or reopen it; `force` drops waiting entries."""
    query = {names.END_OF_STREAM: _boolean(ended), names.FORCE: _boolean(force)}
    return Call("end_stream", "POST", _nothing, query=urlencode(query))


def watch_query(
    *,
    index: int = 0,
    window: int = 5,
    index_only: bool = False,
    auto_commit: bool = False,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Return the query of a watch, encoded."""
    return urlencode(
        {
            names.WATCH: "true",
            names.INDEX: str(index),
            names.WINDOW: str(window),
            names.INDEX_ONLY: _boolean(index_only),
            names.AUTO_COMMIT: _boolean(auto_commit),
            **_filter(tags),
        }
    )


def in_batches(entries: Entries) -> Iterator[list[int]]:
    """Split entries into batches of at most MAX_INDEXES."""
    indexes = _index_list(entries)
    for start in range(0, len(indexes), MAX_INDEXES):
        yield indexes[start : start + MAX_INDEXES]


def body_of(data: object) -> bytes | Content:
    """Return what is sent for this data; raises TypeError, and the OSError of a file."""
    match data:
        case bytes():
            return data
        case str():
            return data.encode()
        case bytearray() | memoryview():
            return bytes(data)
        case os.PathLike():
            return Content(Path(data))
        case _ if hasattr(data, "read"):
            return Content(cast(BinaryIO, data))
        case _:
            # aiohttp would encode anything else in its own way, or fail halfway.
            kind = type(data).__name__
            raise TypeError(
                f"expected bytes or str, got {kind}; for JSON, use json.dumps(...); for a file, "
                "use pathlib.Path"
            )


def _indexes(entries: Entries) -> str:
    return f"{names.INDEXES}={','.join(map(str, _index_list(entries)))}"


def _index_list(entries: Entries) -> list[int]:
    if isinstance(entries, int | Frame):
        entries = (entries,)
    return [entry.index if isinstance(entry, Frame) else entry for entry in entries]


def _filter(tags: Mapping[str, str] | None, request_id: str = "") -> dict[str, str]:
    query = dict(tags) if tags else {}
    for name in query:
        if names.is_reserved(name):
            raise errors.BadParameter(f"a tag cannot be named {name!r}: the protocol uses it")
    if request_id:
        query[names.REQUEST_ID_TAG] = request_id
    return query


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _receipt(answer: Answer) -> Receipt:
    return Receipt(_number(answer), answer.headers.get(names.REQUEST_ID_HEADER, ""))


def _frames(answer: Answer) -> list[Frame]:
    return frames.decode_list(answer.body) if answer.body else []


def _nothing(answer: Answer) -> None:
    return None


def _number(answer: Answer) -> int:
    try:
        return int(answer.body)
    except ValueError as error:
        raise WireError("a decimal number", repr(answer.body[:80])) from error


def _position(answer: Answer) -> Position | None:
    if answer.status == 404:
        error = from_answer(answer.status, answer.headers, answer.body)
        if isinstance(error, errors.NoSuchService):
            raise error
        return None
    try:
        fields = json.loads(answer.body)
        return Position(
            pending=bool(fields["IsPending"]),
            waiting=int(fields["WaitCount"]),
            subscriber=str(fields["ConsumerId"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise WireError("a JSON position", repr(answer.body[:80])) from error
