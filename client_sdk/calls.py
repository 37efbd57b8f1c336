"""One pure function per verb: from arguments to the request that says it.  No I/O.

A `Call` is everything that has to be known about a request before it is sent: where it goes,
what it carries, how its answer is read, and whether it may be sent a second time.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from client_sdk import errors
from client_sdk.refusals import from_answer
from client_sdk.wire import frame as wire
from client_sdk.wire import names
from client_sdk.wire.errors import WireError
from client_sdk.wire.frame import Frame

T = TypeVar("T")

#: Indexes in one request: 20 digits and a comma each stay below the 8 KB that a request line
#: may have with most servers.
MAX_INDEXES = 350

#: What names an entry: its index or the frame that carries it.
Entry = int | Frame
Entries = Entry | Iterable[Entry]


class Retry(Enum):
    """When a call may be sent again after it failed."""

    #: Twice does the same as once: reads, idempotent verbs, and a put under its key.
    FREELY = "freely"
    #: Only when it surely was not carried out: the connection never stood, or the service
    #: itself said that it did nothing.
    IF_NOT_DONE = "if not done"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request to one queue.

    path: below the queue's own, percent-encoded; "" or beginning with a slash.
    query: encoded, without the question mark.
    parse: reads the answer; raises WireError when it is not what the protocol promises.
    passes: the statuses that `parse` is given; any other is an error.
    wait_s: how long the service was asked to wait before it answers, in seconds.
    """

    verb: str
    method: str
    parse: Callable[[Answer], T]
    query: str = ""
    path: str = ""
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry: Retry = Retry.FREELY
    passes: frozenset[int] = frozenset({200})
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a put returns: where the entry is, and what its result will carry."""

    index: int
    request_id: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where an entry is.

    pending: a subscriber works on it now.  waiting: how many entries are before it.
    subscriber: who holds it, as group.user; "" for nobody.
    """

    pending: bool
    waiting: int
    subscriber: str


def put(
    data: bytes | str,
    *,
    tags: Mapping[str, str] | None = None,
    priority: int = 0,
    request_id: str = "",
    idempotency_key: str = "",
    path: str = "",
    content_type: str = "",
) -> Call[Receipt]:
    """Store an entry.

    The idempotency key is part of the call, so every sending of it stores one entry at most.
    Raises BadParameter when a tag or a path has a name that the protocol keeps for itself, or an
    id cannot travel in a header, and TypeError for data that is neither bytes nor text.
    """
    body = _body(data)
    if path.strip("/").split("/")[0] == names.SINK:
        raise errors.BadParameter("the path 'sink' is that of the sink itself")
    for name, text in (("request id", request_id), ("idempotency key", idempotency_key)):
        # They travel in headers, which have no room for anything else.
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise errors.BadParameter(f"expected a {name} of printable ASCII, got {text[:64]!r}")
    # Several entries may share a request id, as the results of one request do.  So only an id
    # that was made here and now can stand for this put alone.
    key = idempotency_key or str(uuid.uuid4())
    fields = dict(tags) if tags else {}
    for name in fields:
        if names.is_reserved(name) or name == names.REQUEST_ID_TAG:
            raise errors.BadParameter(f"a tag cannot be named {name!r}: the protocol uses it")
    fields[names.REQUEST_ID_TAG] = request_id or key
    if priority:
        fields[names.PRIORITY] = str(priority)
    # Most puts carry nothing but an id of ours, in which there is nothing to encode.
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
    """Read frames, and with `auto_delete` remove what was read.

    A get that deletes is not sent again when its answer was lost on the way: the frames may be
    deleted by then, and a second get would return the next ones, or nothing, as if all were
    well.  It raises AnswerLost instead, and the caller knows.
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
    """Say that these are done with; at most MAX_INDEXES at once."""
    return Call("commit", "PUT", _nothing, query=_indexes(entries))


def reject(entries: Entries, *, code: str = "", reason: str = "") -> Call[None]:
    """Give these back to be delivered again; EAS calls it a negative commit.

    Not sent again when it may have been carried out: by then the same subscriber can have been
    given the entry anew, and a second reject would hit that delivery.
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
    """Remove these, whoever holds them; at most MAX_INDEXES at once."""
    return Call("delete", "DELETE", _nothing, query=_indexes(entries))


def truncate(index: int) -> Call[None]:
    """Remove every entry before `index`, which itself stays."""
    return Call(
        "truncate", "DELETE", _nothing, query=f"{names.INDEX}={index}&{names.TRUNCATE}=true"
    )


def search(index: int) -> Call[Position | None]:
    """Ask where an entry is; None when the queue has none with this index."""
    return Call(
        "search",
        "GET",
        _position,
        query=f"{names.SEARCH}=true&{names.INDEX}={index}",
        passes=frozenset({200, 404}),
    )


def attributes() -> Call[dict[str, str]]:
    """Ask for the queue's attributes: its limits, its length, its subscribers."""
    return Call(
        "attributes",
        "GET",
        lambda answer: wire.decode_attributes(answer.body),
        query=f"{names.ATTRIBUTES}=true",
        headers={"Accept": names.PROTOBUF},
    )


def count(*, tags: Mapping[str, str] | None = None, priority: int | None = None) -> Call[int]:
    """Ask how many entries are stored that have these tags and this priority."""
    query = {names.COUNT: "true", **_filter(tags)}
    if priority is not None:
        query[names.PRIORITY] = str(priority)
    return Call("count", "GET", _number, query=urlencode(query))


def end_stream(*, ended: bool, force: bool = False) -> Call[None]:
    """Let the queue take no more puts, or take them again; `force` drops what nobody holds."""
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
    """Divide entries into as many requests as their number asks for."""
    indexes = _index_list(entries)
    for start in range(0, len(indexes), MAX_INDEXES):
        yield indexes[start : start + MAX_INDEXES]


def _body(data: object) -> bytes:
    match data:
        case bytes():
            return data
        case str():
            return data.encode()
        case bytearray() | memoryview():
            return bytes(data)
        case _:
            # Anything else aiohttp would send in a form of its own, or fail at half-way.
            kind = type(data).__name__
            raise TypeError(f"put takes bytes or str, got {kind}; for JSON, json.dumps(...) it")


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
            raise errors.BadParameter(f"no tag is named {name!r}: the protocol uses that name")
    if request_id:
        query[names.REQUEST_ID_TAG] = request_id
    return query


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _receipt(answer: Answer) -> Receipt:
    return Receipt(_number(answer), answer.headers.get(names.REQUEST_ID_HEADER, ""))


def _frames(answer: Answer) -> list[Frame]:
    return wire.decode_list(answer.body) if answer.body else []


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
