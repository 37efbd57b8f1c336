"""Every Redis key of a service.

All keys of one service carry the hash tag `{service}`, so that a service lives in one slot of
a Redis Cluster and many services spread over it.  Per queue (`<prefix>:{<service>}:<role>:`):

| key           | type       | holds                                                          |
|---------------|------------|----------------------------------------------------------------|
| `lane:0`      | stream     | entries of normal priority; the id is `<index>-0`              |
| `lane:1`      | stream     | entries that go first                                          |
| `meta`        | hash       | last index, entries held, time of the last look, sums of dead  |
|               |            | letters: parked, dropped, reared, replayed, purged, crowded_out|
|               |            | whether its stream was ended, the format (prelude/keys.lua),   |
|               |            | below what index no entry is the service's own (evictions.lua),|
|               |            | how many idempotency keys each owner has used since when       |
| `request_ids` | hash       | request id -> index of its first entry                         |
| `deliveries`  | hash       | group, index -> attempt, lane, state, request id, user, tags   |
|               |            | group, index, "deaths" -> users whose engine died on it        |
|               |            | group, index, "error" -> how its last hand-out failed          |
| `holds`       | sorted set | group, user, index: what each subscriber holds, by name        |
| `released`    | sorted set | group, index: what goes out again, lowest index first          |
| `skipped`     | sorted set | group, index: what the group's filter has passed over          |
| `done`        | hash       | group, index: committed by this group, still owed by another   |
| `groups`      | hash       | group, name -> cursor of each lane, sums, filter, who left     |
| `members`     | hash       | group -> how many subscribers it has                           |
| `leases`      | sorted set | group, user -> when its lease ends, ms                         |
| `subscribers` | hash       | group, user, name -> window, held, session, filter, about      |
| `taken`       | sorted set | index -> until when a read keeps it to itself, ms              |
| `repeated_ids`| sorted set | request id, index: its further entries; only a sink has them   |
| `dead`        | hash       | index -> dead letter, less its data (MessagePack)              |
| `dead_data`   | hash       | index -> data of the dead letter                               |
| `dead_order`  | sorted set | index -> number of the dead letter, in the order of parking    |
| `deadlines`   | sorted set | members of `holds` -> when `max_idle` is over, ms              |
| `pauses`      | sorted set | group, index -> until when it waits after a failed attempt, ms |
| `holders`     | sorted set | owner -> how many entries it has, "" -> less all of those      |

A service that was made at run time has its incarnation between its name and the role.
And one of each for the service (`<prefix>:{<service>}:`):

| key           | type       | holds                                                          |
|---------------|------------|----------------------------------------------------------------|
| `tickets`     | hash       | request id -> what is remembered of it (JSON, see tickets.lua)  |
| `times`       | sorted set | kind, request id -> when something is due for it, ms            |
| `delayed`     | stream     | entries that are not in line before their time                  |
| `stops`       | hash       | group, user, index -> attempt and why: what a worker is to stop |
| `lines`       | sorted set | owner, lane, index: who waits for the workers (see lines.lua)   |
| `shares`      | hash       | owner -> its account, while it waits, runs or is in debt        |
| `running`     | hash       | group, index -> since when it runs, ms, and its owner           |
| `owned`       | sorted set | owner, place, what: all that each owner has (see owners.lua)    |
| `gaps`        | sorted set | indexes that a count of lane 0 leaves out (see gaps.lua)        |
| `history`     | list       | how long deliveries were held lately, ms; with a TTL            |

Names inside a field or a member are joined by the unit separator (0x1F), which no name may
contain.  A name of an owner other than the service's own token is `<owner>`, the record separator
(0x1E) and the name: request ids and keys of what its tokens put, groups of the sink, users of the
input queue (see prelude/owners.lua).

Beside these, with a TTL: `idempotency:<key>` (text): a put's index and request id;
`events:<request id>` (stream): what an engine has told of a request so far; `rate:<token id>`
(text): when what a token may put is whole again, ms.

Who ends them: entries and what belongs to them go with commit, complete, delete or truncate;
a subscriber goes with its connection or its lease; a group some time after its last member;
a dead letter when it is replayed, purged or crowded out by newer ones.
`gaps` is bounded, and goes when the input queue is empty.
`lines`, `shares` and `running` go with the last entry of a token that waits or runs, `owned` with
its last entry or ticket.
`meta`, `groups` and `members` of a live service stay while it does.  A ticket has a time at which
it is forgotten, or an entry in one of the queues, with which that time begins.
"""

from typing import Literal

Role = Literal["input", "sink"]

_NAMES = (
    "lane:0",
    "lane:1",
    "meta",
    "request_ids",
    "deliveries",
    "holds",
    "released",
    "skipped",
    "done",
    "groups",
    "members",
    "leases",
    "subscribers",
    "taken",
    "repeated_ids",
    "dead",
    "dead_data",
    "dead_order",
    "deadlines",
    "pauses",
    "holders",
)


_SHARED_NAMES = (
    "tickets",
    "times",
    "delayed",
    "stops",
    "lines",
    "shares",
    "running",
    "owned",
    "gaps",
)


class Keys:
    """The keys of one service.

    incarnation: which of the services of this name it is (registry.py); 0 for one that was
        not made at run time, whose keys do without it.
    """

    def __init__(self, prefix: str, service: str, incarnation: int = 0) -> None:
        self.service = service
        self._base = f"{prefix}:{{{service}}}"
        if incarnation:
            self._base += f":{incarnation}"
        #: The pub/sub channel of this service's doorbells.
        self.channel = f"{self._base}:ring"

    def queue(self, role: Role) -> list[str]:
        """The keys of one queue, in the order in which the scripts expect them."""
        return [f"{self._base}:{role}:{name}" for name in _NAMES]

    def shared(self) -> list[str]:
        """The keys that are the service's, in the order in which the scripts expect them."""
        return [f"{self._base}:{name}" for name in _SHARED_NAMES]

    @property
    def history(self) -> str:
        """How long deliveries were held lately."""
        return f"{self._base}:history"

    def events(self, request_id: str) -> str:
        """The key of what an engine has told of a request."""
        return f"{self._base}:events:{request_id}"

    def rate(self, token_id: str) -> str:
        """The key of what a token may put."""
        return f"{self._base}:rate:{token_id}"

    def submission(self, key: str) -> str:
        """The key under which the request id of a repeatable submission is kept."""
        return f"{self._base}:idempotency:{key}"

    def idempotency(self, role: Role, key: str) -> str:
        """The key under which the outcome of a repeatable put is kept."""
        return f"{self._base}:{role}:idempotency:{key}"


def other(role: Role) -> Role:
    """The role of the other queue of the pair."""
    return "sink" if role == "input" else "input"
