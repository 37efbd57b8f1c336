"""What the store takes and gives: plain values, no Redis.

Those of which there is one for each entry are not frozen, though nobody changes them: a
frozen dataclass takes three times as long to make.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from client_sdk.wire.names import REQUEST_ID_TAG, TICKET_TAG
from queue_service.store.owners import OWNED, owned_name, qualified
from queue_service.store.payload import (
    FileOfEntry,
    files_of,
    payload_of,
    shown_tags,
    tags_with_files,
)
from queue_service.store.putter import Putter

#: So much of a failure's sentence is kept, in characters; an exception can quote a whole tensor.
MAX_REASON_LENGTH = 1000

_TICKET = TICKET_TAG.encode()


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to put.

    idempotency_key: a second put with the same key gives the first one's index; "" for none.
    putter: the token that puts it; None is the service's own.
    owner: whose it is, and who alone knows its request id and key; "" is the service's own.  Of a
        result: who puts it; it is then stored as its input's owner's.
    meant: of a result, the stored name that its request id says with its owner; "" for none.
    files: contents outside Redis that it owns from now on; `data` is empty if one is its payload.
    """

    request_id: str
    data: bytes
    tags: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    path: str = ""
    content_type: str = ""
    idempotency_key: str = ""
    putter: Putter | None = None
    owner: str = ""
    meant: str = ""
    files: tuple[FileOfEntry, ...] = ()

    def tags_json(self) -> str:
        """Return the tags as they are stored."""
        tags = tags_with_files(self.tags, self.files)
        return json.dumps(tags) if tags else "{}"


@dataclass(slots=True)
class Entry:
    """A stored entry.

    stored_at_ms: milliseconds since 1970, by Redis' clock.  owner: whose it is, "" for the
    service's own.
    """

    index: int
    request_id: str
    tags_json: bytes
    data: bytes
    stored_at_ms: int
    path: str = ""
    content_type: str = ""
    owner: str = ""

    @classmethod
    def from_reply(cls, reply: Sequence[Any]) -> "Entry":
        """Read {index, request id, tags, stored at, data, path, content type}."""
        owner, request_id = "", reply[1].decode()
        if OWNED in request_id:
            owner, _, request_id = request_id.partition(OWNED)
        return cls(
            index=int(reply[0]),
            request_id=request_id,
            tags_json=reply[2],
            stored_at_ms=int(reply[3]),
            data=reply[4],
            path=reply[5].decode(),
            content_type=reply[6].decode(),
            owner=owner,
        )

    def tags(self, *, with_owner: bool = False) -> dict[str, str]:
        """The tags as a client sees them: its own, and the request id.

        with_owner: the id of an owned entry says whose it is, so that a worker's answer does.
        """
        tags = shown_tags(self.tags_json)
        tags[REQUEST_ID_TAG] = self.shown_id(with_owner=with_owner)
        return tags

    def shown_id(self, *, with_owner: bool = False) -> str:
        """The request id as a client sees it."""
        return qualified(self.request_id, self.owner) if with_owner else self.request_id

    @property
    def files(self) -> tuple[FileOfEntry, ...]:
        """The contents outside Redis that it owns."""
        return files_of(self.tags_json)

    @property
    def payload_file(self) -> FileOfEntry | None:
        """The content that is its data, if that is outside Redis."""
        return payload_of(self.files)

    @property
    def size_bytes(self) -> int:
        """The size of its data, wherever that is."""
        file = self.payload_file
        return len(self.data) if file is None else file.size_bytes

    def ticket(self) -> str:
        """What the tag of its ticket says; "" when it has none."""
        if _TICKET not in self.tags_json:
            return ""
        return str(json.loads(self.tags_json).get(TICKET_TAG, ""))


@dataclass(slots=True)
class Delivery:
    """An entry that a subscriber holds; attempt counts its deliveries, this one included.

    deaths: how many different workers' engines have died while they ran it.  retry: the request's
    own retry policy, as ticket.py writes it.  alone: nothing else may run beside it.
    has_rivals: other owners have entries that wait or run.
    """

    entry: Entry
    attempt: int
    priority: int
    deaths: int
    retry: str = ""
    alone: bool = False
    has_rivals: bool = False

    @classmethod
    def from_reply(cls, reply: Sequence[Any]) -> "Delivery":
        """Read one delivery of what deliver.lua returns."""
        return cls(
            Entry.from_reply((reply[0], *reply[3:])),
            int(reply[1]),
            int(reply[2]),
            int(reply[9]),
            reply[10].decode(),
            alone=reply[11] == b"1",
            has_rivals=reply[12] == b"1",
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries a subscriber or a read wants.

    from_index: the lowest index.  request_id and tags must be equal where they are given.
    owner: whose entries alone there are; "" for everybody's.
    """

    from_index: int = 0
    request_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""

    def to_json(self) -> str:
        wanted: dict[str, object] = {"from": self.from_index, "tags": dict(self.tags)}
        if self.request_id:
            wanted["request_id"] = owned_name(self.owner, self.request_id)
        if self.owner:
            wanted["owner"] = self.owner
        return json.dumps(wanted)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscriber, as it is stored.

    session: names the connection; a newer one of the same (gid, uid) takes over.
    newest_only: the lower bound is the entry that comes next.
    resident: the group is the workers' own and is owed every entry even while empty.
    claims: (index, attempt) of deliveries that a worker still works on.
    """

    gid: str
    uid: str
    session: str
    window: int
    lease_ms: int
    wanted: Filter = Filter()
    newest_only: bool = False
    resident: bool = False
    about: Mapping[str, object] = field(default_factory=dict)
    claims: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Renewal:
    """One subscriber's lease: it ends in `lease_ms` from now.

    about: what attributes show of the subscriber from now on; None leaves it as it is.
    """

    gid: str
    uid: str
    session: str
    lease_ms: int
    about: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One subscriber's wish for at most `room` entries."""

    uid: str
    session: str
    room: int


@dataclass(slots=True)
class Completed:
    """A delivery that is done; `data` None writes nothing to the sink.

    files: as in NewEntry.

    failed_code: that of the failure which the result tells of, "" for none; a dead letter is then
        kept, if the policy says so.  failed_reason: its sentence.  failed_type: its type, "" for
        unsaid.
    prompt_tokens, completion_tokens: of a language model, 0 if unknown.
    """

    gid: str
    uid: str
    index: int
    attempt: int
    data: bytes | None
    tags: Mapping[str, str] = field(default_factory=dict)
    failed_code: str = ""
    failed_reason: str = ""
    failed_type: str = ""
    files: tuple[FileOfEntry, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def _has_tokens(self) -> bool:
        return bool(self.prompt_tokens or self.completion_tokens)

    def arguments(self) -> tuple[Any, ...]:
        """What complete.lua takes of it."""
        tags = tags_with_files(self.tags, self.files)
        return (
            self.uid,
            self.index,
            self.attempt,
            int(self.data is not None),
            self.data or b"",
            json.dumps(tags) if tags else "{}",
            self.failed_code,
            self.failed_reason,
            self.failed_type,
            f"{self.prompt_tokens} {self.completion_tokens}" if self._has_tokens else "",
        )


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected delivery, and why; attempt 0 is the one that the user holds.

    type: that of the failure, "" for unsaid.  pauses_ms: how long the entry waits after its first
    attempt, its second and so on, and the last one after all further; None in place of one that is
    to be followed by another.  alone: the same user is to run it again, with nothing beside it.
    uncharged: it is not known whose entry killed the engine, so the first time does not count.
    """

    gid: str
    uid: str
    index: int
    attempt: int
    code: str
    reason: str = ""
    type: str = ""
    pauses_ms: tuple[int | None, ...] = ()
    alone: bool = False
    uncharged: bool = False

    def arguments(self) -> tuple[Any, ...]:
        """What reject.lua takes of it."""
        pauses = ",".join("x" if pause_ms is None else str(pause_ms) for pause_ms in self.pauses_ms)
        return (
            self.uid,
            self.index,
            self.attempt,
            self.code,
            self.reason,
            self.type,
            pauses,
            int(self.alone),
            int(self.uncharged),
        )


@dataclass(frozen=True, slots=True)
class Read:
    """A get: at most `length` entries; `take` keeps them from other reads until deleted.

    may_take: it only looks at what a later read may take.
    taker: the owner for whom they are deleted, which gets nothing that users of others hold.
    """

    wanted: Filter
    length: int
    take: bool
    taker: str = ""
    may_take: bool = False


class Quality(StrEnum):
    """How good a position is; the words are those of the scripts and of the jobs API."""

    EXACT = "exact"
    AT_MOST = "at_most"
    ABOUT = "about"  # it depends on how long the entries of other owners run


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry is: in the asking group's hands, or behind `ahead` others.

    quality: how good the number is.
    """

    held: bool
    uid: str
    ahead: int
    quality: Quality = Quality.EXACT


@dataclass(frozen=True, slots=True)
class Dropped:
    """How much a queue had that was removed."""

    entries: int
    dead_letters: int
