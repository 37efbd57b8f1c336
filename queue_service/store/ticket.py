"""Values about tickets that the store takes and returns: no Redis here.

A ticket is what is known of a request, from its submission until some time after its result is
gone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from client_sdk.wire.failures import FailureType, type_named
from client_sdk.wire.names import ERROR_CODE_TAG, ERROR_TYPE_TAG, TICKET_TAG
from client_sdk.wire.retry import AttemptPolicy
from queue_service.store.entry import Entry, Quality
from queue_service.store.owners import owned_name, owner_of, plain_name
from queue_service.store.payload import FileOfEntry, tags_with_files
from queue_service.store.putter import Putter

#: The value of the ticket's tag on an entry whose events are not stored.
NO_EVENTS = "-"
#: The same when its events are wanted; the longest run in ms may follow either.
EVENTS = "e"
#: The index in a stop that asks the worker itself to leave: the largest of the wire.
LEAVE = 2**64 - 1


class State(StrEnum):
    """Where a request is; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class OwnWebhook:
    """Where the end of one job is reported.  states: the final states that are reported."""

    url: str
    states: frozenset[str]

    def stored(self) -> dict[str, object]:
        """As the ticket keeps it (lua/prelude/outbox.lua)."""
        return {"url": self.url, "states": dict.fromkeys(sorted(self.states), True)}


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to put and remember.

    digest: distinguishes a repetition from a different request with the same id or key.
    keep_ms: how long the result is kept; 0 is until it is read from the sink.
    told_ms: how long the ticket is kept after the result.
    begin_ms, start_by_ms, finish_by_ms: ms since 1970; 0 for none.  run_timeout_ms: 0 for none.
    events: whether to store what an engine reports while it runs.
    retry: its retry policy, if it is not that of the service; see write_retry.
    putter: the token that puts it; None is the service's own.  Each owner has its own ids and keys.
    files: contents outside Redis that it owns; `data` is empty if one is its payload.
    webhook: where its end is reported, if the job says so; None if it does not.
    quiet: no webhook of the service reports its end, because a client or a batch waits for it.
    looks: whether the outcome says where the request is then.
    about: what the API that put it wants to know later, kept in the ticket.
    listed: the list of an API that shows it, such as `video`; "" for none.
    """

    request_id: str
    data: bytes
    digest: str
    keep_ms: int
    told_ms: int
    tags: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    path: str = ""
    content_type: str = ""
    submission_key: str = ""
    begin_ms: int = 0
    start_by_ms: int = 0
    finish_by_ms: int = 0
    run_timeout_ms: int = 0
    events: bool = True
    retry: AttemptPolicy | None = None
    putter: Putter | None = None
    files: tuple[FileOfEntry, ...] = ()
    webhook: OwnWebhook | None = None
    quiet: bool = False
    looks: bool = False
    about: str = ""
    listed: str = ""

    def stored(self, name: str) -> str:
        """An id or a key as it is stored."""
        return owned_name(self.putter.owner if self.putter else "", name)

    def tags_json(self) -> str:
        """The tags as they are stored."""
        about = f"{EVENTS if self.events else NO_EVENTS}{self.run_timeout_ms or ''}"
        return json.dumps({**tags_with_files(self.tags, self.files), TICKET_TAG: about})

    def ticket_json(self) -> str:
        """The ticket as it is first stored; the script adds the rest."""
        retry = {} if self.retry is None else {"retry": write_retry(self.retry)}
        about = {"about": self.about} if self.about else {}
        return json.dumps(
            {
                **retry,
                **about,
                **({"listed": self.listed} if self.listed else {}),
                **({"webhook": self.webhook.stored()} if self.webhook else {}),
                **({"quiet": True} if self.quiet else {}),
                "keep_ms": self.keep_ms,
                "told_ms": self.told_ms,
                "priority": self.priority,
                "begin_at": self.begin_ms,
                "start_by": self.start_by_ms,
                "finish_by": self.finish_by_ms,
                "run_timeout_ms": self.run_timeout_ms,
                "events": self.events,
            }
        )


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """A place in the list of an API: when the job was put, and its request id as it is stored."""

    put_at_ms: int
    name: str


def write_retry(policy: AttemptPolicy) -> str:
    """Return a retry policy as a ticket keeps it; the scripts read the first number of it."""
    times = f"{policy.first_pause_s!r} {policy.factor!r} {policy.longest_pause_s!r}"
    return f"{policy.max_attempts} {times} {policy.jitter!r}"


def read_retry(text: str) -> AttemptPolicy | None:
    """Read what write_retry has written; None for a request that has no policy of its own."""
    if not text:
        return None
    most, *numbers = text.split()
    return AttemptPolicy(int(most), *map(float, numbers))


class Canceled(StrEnum):
    """What became of the wish to cancel."""

    CANCELED = "canceled"
    STOPPING = "stopping"  # its worker gets a stop, and decides how it ends
    ENDED = "ended"  # it had ended before
    UNKNOWN = "unknown"


class Part(StrEnum):
    """One part of the list of requests, in the words of list.lua and of the cursors of the API."""

    RUNNING = "running"  # held by workers; in lists of the newest alone
    INPUT = "input"
    DELAYED = "delayed"
    SINK = "sink"
    ENDED = "ended"  # without a result


@dataclass(frozen=True, slots=True)
class Newest:
    """A request in a list of the newest.

    at_ms: when it came where it is; 0 if unknown.  place: where to go on after it.
    """

    name: str
    at_ms: int
    place: str
    tags_json: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """A delivery that its worker is to stop, or, with the index LEAVE, the wish that it leaves."""

    uid: str
    index: int
    attempt: int

    @property
    def is_leave(self) -> bool:
        """Whether the worker is to leave, as prelude/stops.lua stores it."""
        return self.index == LEAVE


class Leaving(StrEnum):
    """What became of asking a worker to leave, in the words of leave.lua."""

    ASKED = "asked"
    KNOWN = "known"  # it was asked before
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that an engine has reported about a delivery, to be stored.

    said: the worker's number for it, growing within the attempt.
    data: a piece of output for the kind "delta", else JSON.  chunks: of a delta, lines as in
    client_sdk/wire/chunks.py.  artifact_bytes: the most that all artifacts of a job may have.
    """

    gid: str
    uid: str
    index: int
    attempt: int
    request_id: str
    said: int
    kind: str
    data: bytes
    tokens: int
    chunks: bytes = b""
    artifact_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """The size of what is stored."""
        return len(self.data) + len(self.chunks)


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event; number counts the events of the request from 1."""

    number: int
    kind: str
    attempt: int
    data: bytes
    tokens: int
    chunks: bytes = b""


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers' group: how many subscribers, what they hold, how many have room.

    paused: the service is paused, so they get nothing new.  blocked: some wait for room in the
    sink, or for an owner's share of it.
    """

    members: int
    held: int
    roomy: int
    paused: bool = False
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """How an attempt failed: the type and the code of the failure, and its sentence."""

    type: FailureType
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a request is.

    request_id: its name as it is stored; `id` and `owner` are what it is made of.
    ticket: {} for one that has none.  index: of the input entry, if there is one.
    ahead: entries that are delivered before it.  quality: how good that number is.
    result_index, result_tags: of its result; None and {} without one.
    now_ms: ms since 1970 by Redis' clock.
    paused_until_ms: when its pause after a failed attempt ends; 0 for none.
    failure: how its last attempt failed, or why it has ended.
    account: that of the token that put it, while it waits in the queue.
    result: the result, if it was asked for, is there and is small.
    """

    request_id: str
    ticket: Mapping[str, Any]
    index: int | None
    held: bool
    attempt: int
    uid: str
    ahead: int
    stored_at_ms: int
    result_index: int | None
    result_tags: Mapping[str, str]
    lane: int
    crew: Crew
    now_ms: int
    paused_until_ms: int = 0
    failure: "Failed | None" = None
    quality: Quality = Quality.EXACT
    account: str = ""
    result: Entry | None = None

    @property
    def id(self) -> str:
        return plain_name(self.request_id)

    @property
    def owner(self) -> str:
        return owner_of(self.request_id)

    @property
    def known(self) -> bool:
        return bool(self.ticket or self.index or self.result_index)

    @property
    def state(self) -> State:
        """Where it is, from its ticket or else from the queues."""
        if ended := self.ticket.get("state"):
            return State(ended)
        if self.result_index:
            return State.FAILED if ERROR_CODE_TAG in self.result_tags else State.SUCCEEDED
        return State.RUNNING if self.held else State.QUEUED

    @property
    def has_artifacts(self) -> bool:
        """Whether its newest run has added files."""
        ticket = self.ticket
        return bool(ticket.get("artifacts")) and (
            ticket.get("artifacts_of") == ticket.get("started_at")
        )

    @property
    def has_ended(self) -> bool:
        return self.state not in (State.QUEUED, State.RUNNING)

    @property
    def waits_for_resume(self) -> bool:
        """Whether it cannot start because its service is paused."""
        return self.crew.paused and self.state is State.QUEUED

    @property
    def is_over(self) -> bool:
        """Whether it cannot change any more: it has ended, or nothing is known of it."""
        return self.has_ended or not self.known


def parse_crew(reply: Sequence[Any]) -> tuple[Crew, int]:
    """Read what Looks.crew returns: the crew, and ms since 1970."""
    sums, now_ms, paused_at = reply
    members, held, roomy, blocked = map(int, sums)
    return Crew(members, held, roomy, paused=bool(paused_at), blocked=bool(blocked)), int(now_ms)


def parse_seen(request_id: str, reply: Sequence[Any], *, crew: Crew, now_ms: int) -> Seen:
    """Read what Looks.of returns."""
    ticket, index, held, attempt, uid, ahead, stored_at, result_index, tags, lane = reply[:10]
    fields = json.loads(ticket) if ticket else {}
    result_tags = json.loads(tags) if tags else {}
    return Seen(
        request_id=request_id,
        ticket=fields,
        index=int(index or 0) or None,
        held=held == b"1",
        attempt=int(attempt),
        uid=uid.decode(),
        ahead=int(ahead),
        stored_at_ms=int(stored_at or 0),
        result_index=int(result_index or 0) or None,
        result_tags=result_tags,
        lane=int(lane),
        crew=crew,
        now_ms=now_ms,
        paused_until_ms=int(reply[10]),
        failure=_failure(fields, result_tags, reply[11], reply[12]),
        quality=Quality(reply[13].decode()),
        account=reply[14].decode(),
        result=Entry.from_reply(reply[15]) if reply[15] else None,
    )


def _failure(
    ticket: Mapping[str, Any], result_tags: Mapping[str, str], last: Sequence[Any], result: bytes
) -> Failed | None:
    """Return why a request failed: its end, or else its last attempt."""
    code = str(ticket.get("code") or result_tags.get(ERROR_CODE_TAG, ""))
    if ticket.get("state") in ("succeeded", "canceled"):
        return None
    if code:
        name = str(ticket.get("type") or result_tags.get(ERROR_TYPE_TAG, ""))
        return Failed(type_named(name, code), code, result.decode("utf-8", "replace"))
    if not last:
        return None
    kind, code, sentence = (part.decode("utf-8", "replace") for part in last)
    return Failed(type_named(kind, code), code, sentence)
