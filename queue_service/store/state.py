"""A queue in numbers, as attributes.lua returns it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from queue_service.store.owners import owner_of, plain_name


@dataclass(frozen=True, slots=True)
class Departed:
    """A subscriber that has left; it held `held` entries then, which went to others."""

    uid: str
    left_at_ms: int
    held: int


@dataclass(frozen=True, slots=True)
class GroupState:
    gid: str
    members: int
    waiting: int
    held: int
    departed: tuple[Departed, ...] = ()
    owner: str = ""


@dataclass(frozen=True, slots=True)
class SubscriberState:
    """A subscriber, as operators see it.  leaving: a worker that was asked to leave."""

    gid: str
    uid: str
    window: int
    held: int
    connected: bool
    lease_ends_ms: int
    about: Mapping[str, Any]
    owner: str = ""
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class DeadLetterSums:
    """How many dead letters there are, and what became of entries since the queue was made.

    parked: became dead letters.  dropped, reared: ended by those policies.  replayed, purged:
    dead letters that were put back or removed.  crowded_out: the oldest, beyond the limit.
    """

    now: int
    parked: int
    dropped: int
    reared: int
    replayed: int
    purged: int
    crowded_out: int


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue in numbers; first and last index are 0 when it is empty.

    ended: it takes no more puts.  paused_at_ms: since when it delivers nothing; only the input
    queue of a paused service has it.  more_places: those of the capacity that large entries take
    beyond the first.  full: it takes nothing more; of a sink, that unread results fill it.
    bytes: what its entries take in Redis, as that estimates it.  file_bytes: what they have in
    files.  read: results that their owners have read, which go first.  read_dropped: how many have
    gone so.
    """

    length: int
    first_index: int
    last_index: int
    last_given: int
    dead_letters: DeadLetterSums
    now_ms: int
    groups: tuple[GroupState, ...]
    subscribers: tuple[SubscriberState, ...]
    ended: bool = False
    paused_at_ms: int | None = None
    more_places: int = 0
    full: bool = False
    bytes: int = 0
    file_bytes: int = 0
    read: int = 0
    read_dropped: int = 0


def read_state(reply: Sequence[Any]) -> QueueState:
    """Read the reply of the script."""
    length, first, last, last_given = (int(number or 0) for number in reply[:4])
    return QueueState(
        length=length,
        first_index=first,
        last_index=last,
        last_given=last_given,
        dead_letters=DeadLetterSums(*map(int, reply[4])),
        now_ms=int(reply[5]),
        groups=tuple(
            GroupState(
                plain_name(gid.decode()),
                int(members),
                int(waiting),
                int(held),
                tuple(
                    Departed(plain_name(uid), left_at_ms, count)
                    for uid, left_at_ms, count in json.loads(departed)
                ),
                owner_of(gid.decode()),
            )
            for gid, members, waiting, held, departed in reply[6]
        ),
        subscribers=tuple(
            SubscriberState(
                plain_name(gid.decode()),
                plain_name(uid.decode()),
                int(window),
                int(held),
                connected == b"1",
                int(float(ends)),
                json.loads(about),
                owner_of(gid.decode()) or owner_of(uid.decode()),
                leaving == b"1",
            )
            for gid, uid, window, held, connected, ends, about, leaving in reply[7]
        ),
        ended=reply[8] == b"1",
        paused_at_ms=int(reply[9] or 0) or None,
        more_places=int(reply[10]),
        full=reply[11] == b"1",
        bytes=int(reply[12]),
        file_bytes=int(reply[13]),
        read=int(reply[14]),
        read_dropped=int(reply[15]),
    )
