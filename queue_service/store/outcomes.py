"""What became of a call: the types that the store returns.

Scripts reply with words, numbers and empty lists.  Only the store reads those, once, here or in the
method of the verb; the layers above see types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Any

from queue_service.store.entry import Delivery
from queue_service.store.owners import plain_name
from queue_service.store.putter import QuotaReached
from queue_service.store.ticket import Seen, parse_crew, parse_seen


class Refusal(Enum):
    """Why a queue did not store an entry, apart from the quotas of a token."""

    FULL = auto()
    ENDED = auto()  # its stream was ended
    FOREIGN = auto()  # a result of an entry that another owner's worker must answer
    BEGINS_LATER = auto()  # a job of this request id still waits for its time to begin


@dataclass(frozen=True, slots=True)
class TooLate:
    """The time before which the request had to begin or end has passed, by this much."""

    option: str
    by_ms: int


@dataclass(frozen=True, slots=True)
class IdTaken:
    """The id or the key belongs to a different request of the same owner, which has this id."""

    request_id: str


@dataclass(frozen=True, slots=True)
class NotStored:
    """Nothing was stored."""

    reason: Refusal | QuotaReached | TooLate | IdTaken


@dataclass(slots=True)
class Stored:
    """An entry is stored, by this put or by an earlier one with the same idempotency key.

    request_id: as its owner knows it.
    """

    index: int
    request_id: str


@dataclass(slots=True)
class Submitted:
    """A request is stored, by this submission or, if it is not new, by the same one before.

    name: under which it is stored.  seen: where it is, if the submission asked.
    """

    name: str
    is_new: bool
    seen: Seen | None = None


#: In the words of put.lua.
_REFUSALS = {
    b"full": Refusal.FULL,
    b"ended": Refusal.ENDED,
    b"foreign": Refusal.FOREIGN,
    b"later": Refusal.BEGINS_LATER,
}


def read_put(reply: Sequence[Any]) -> Stored | NotStored:
    """Read what put.lua returns for one entry."""
    # The usual case first: the patterns below take longer than all the rest of it.
    if len(reply) == 2:
        return Stored(int(reply[0]), plain_name(reply[1].decode()))
    match reply:
        case [b"quota", *quota]:
            return NotStored(_read_quota(quota))
        case [word]:
            return NotStored(_REFUSALS[word])
    raise ValueError(f"put.lua returned {reply!r}")


def read_submitted(reply: Sequence[Any], crew: Sequence[Any] = ()) -> Submitted | NotStored:
    """Read what submit.lua returns for one request.  crew: its first reply, if anyone looked."""
    match reply:
        case [b"full"]:
            return NotStored(Refusal.FULL)
        case [b"ended"]:
            return NotStored(Refusal.ENDED)
        case [b"quota", *quota]:
            return NotStored(_read_quota(quota))
        case [b"late", option, by_ms]:
            return NotStored(TooLate(option.decode(), int(by_ms)))
        case [b"conflict", name]:
            return NotStored(IdTaken(plain_name(name.decode())))
        case _:
            name, seen = reply[1].decode(), None
            if len(reply) > 2:
                workers, now_ms = parse_crew(crew)
                seen = parse_seen(name, reply[2], crew=workers, now_ms=now_ms)
            return Submitted(name, is_new=reply[0] == b"new", seen=seen)


def _read_quota(reply: Sequence[Any]) -> QuotaReached:
    quota, count, wait_ms = reply
    return QuotaReached(quota.decode(), int(count), time_or_none(wait_ms))


def time_or_none(reply: Any) -> int | None:
    """Read a number of ms; -1 means never, or unknown."""
    return None if int(reply) < 0 else int(reply)


class Gone(Enum):
    """Why a connection is no longer the subscriber, in the words of deliver.lua and renew.lua."""

    TAKEN_OVER = b"taken"  # a newer connection of the same user is
    LEASE_LOST = b"lost"  # its lease has ended


class SinkChange(StrEnum):
    """A change that a delivery has found, as deliver.lua reports it."""

    FULL = "full"  # results that nobody has read stop deliveries
    ROOM = "room"  # they have not done so for some time


@dataclass(frozen=True, slots=True)
class SinkState:
    """Whether results that nobody has read stop deliveries.

    owner: for whom this is; "" is the service itself.  full: for everybody.  share_used: for this
    owner, whose results have its share of the sink.  unread: its results, or all for the service.
    next_ms: until the next of those expires; None is never.  since_ms: since when it is full, ms
    since 1970; 0 while no job has waited for that.
    """

    owner: str
    full: bool
    share_used: bool
    unread: int
    next_ms: int | None
    since_ms: int

    @property
    def stops(self) -> bool:
        """Whether jobs of this owner wait for room."""
        return self.full or self.share_used


class Committed(StrEnum):
    """What became of a commit, in the words of commit.lua."""

    COMMITTED = "committed"
    ABSENT = "absent"  # the group has nothing of this index
    FOREIGN = "foreign"  # another user holds it


class Purged(StrEnum):
    """What became of removing a request, in the words of purge_ticket.lua."""

    FORGOTTEN = "forgotten"
    OPEN = "open"  # it has not ended
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What `deliver` gave.

    waiting: entries that still wait for this group.
    deliveries: what each user got.  held: how many each one holds now.
    gone: the users that are not the subscriber any more, and why.
    sink_change: what this call has changed about the sink, if anything.
    """

    waiting: int
    deliveries: Mapping[str, list[Delivery]]
    held: Mapping[str, int]
    gone: Mapping[str, Gone]
    sink_change: SinkChange | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """What `expire` did and read.

    released: deliveries.  subscribers: how many ended.  wait_ms: until the next lease ends.
    stops: how many deliveries workers must stop.  due_ms: until the time of a ticket comes (see
    due.lua).  None is never.
    """

    released: int
    subscribers: int
    wait_ms: int | None
    stops: int
    due_ms: int | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that a subscriber held for too long, and does not hold any more."""

    gid: str
    uid: str
    index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """What `overdue` did.  wait_ms: until the next delivery is overdue; None is never."""

    taken: list[Taken]
    wait_ms: int | None


@dataclass(frozen=True, slots=True)
class Due:
    """What `due` did: how many things, and in how many ms the next one is due; None is never."""

    done: int
    wait_ms: int | None
