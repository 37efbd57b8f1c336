"""Every Redis key of a service.

All keys of one service carry the hash tag `{service}`, so that a service lives in one slot of
a Redis Cluster and many services spread over it.  Per queue (`<prefix>:{<service>}:<role>:`):

| key           | type       | holds                                                          |
|---------------|------------|----------------------------------------------------------------|
| `lane:0`      | stream     | entries of normal priority; the id is `<index>-0`              |
| `lane:1`      | stream     | entries with a higher priority                                 |
| `meta`        | hash       | last index, entries held, time of the last look, sums of dead  |
|               |            | letters: parked, dropped, reared, replayed, purged, crowded_out|
|               |            | whether its stream was ended, the format (prelude/keys.lua),   |
|               |            | the index below which all entries have owners (evictions.lua), |
|               |            | how many idempotency keys each owner has used since when,      |
|               |            | places that large entries take beyond the first, bytes of their|
|               |            | files (contents.lua); of the sink, how many results were       |
|               |            | dropped to make room (reads.lua); of the input queue, since    |
|               |            | when unread results stop deliveries (deliver.lua)              |
| `request_ids` | hash       | request id -> index of its first entry                         |
| `deliveries`  | hash       | group, index -> attempt, lane, state, request id, user, tags   |
|               |            | group, index, "run" -> what usage.lua notes while a worker has |
|               |            | the entry                                                      |
|               |            | group, index, "deaths" -> users whose engine died on it        |
|               |            | group, index, "error" -> how its last delivery failed          |
| `holds`       | sorted set | group, user, index: what each subscriber holds                 |
| `released`    | sorted set | group, index: to be delivered again, lowest index first        |
| `skipped`     | sorted set | group, index: entries that the group's filter excludes         |
| `done`        | hash       | group, index: committed by this group, not yet by others       |
| `groups`      | hash       | group, name -> cursor of each lane, sums, filter, past members |
| `members`     | hash       | group -> how many subscribers it has                           |
| `leases`      | sorted set | group, user -> when its lease ends, ms                         |
| `subscribers` | hash       | group, user, name -> window, held, session, filter, about      |
| `taken`       | sorted set | index -> until when a read reserves it, ms                     |
| `repeated_ids`| sorted set | request id, index: its further entries; only a sink has them   |
| `dead`        | hash       | index -> dead letter, less its data (MessagePack)              |
| `dead_data`   | hash       | index -> data of the dead letter                               |
| `dead_order`  | sorted set | index -> number of the dead letter, in the order of parking    |
| `deadlines`   | sorted set | members of `holds` -> when `max_idle` ends, ms                 |
| `pauses`      | sorted set | group, index -> when the pause after a failed attempt ends, ms |
| `holders`     | sorted set | owner -> how many entries it has, "" -> minus the sum of all   |

A service that was created at run time has its incarnation between its name and the role.
Keys that a service has once (`<prefix>:{<service>}:`):

| key           | type       | holds                                                          |
|---------------|------------|----------------------------------------------------------------|
| `tickets`     | hash       | request id -> its ticket (JSON, see tickets.lua)                |
| `times`       | sorted set | kind, request id -> when something is due for it, ms            |
| `delayed`     | stream     | entries whose start time has not come                           |
| `stops`       | hash       | group, user, index -> attempt and reason of a stop request      |
| `lines`       | sorted set | owner, lane, index: the waiting entries of each owner           |
| `shares`      | hash       | owner -> its account in the fair order (see lines.lua)          |
| `running`     | hash       | group, index -> when it started, ms, and its owner              |
| `owned`       | sorted set | owner, place, what: all that each owner has (see owners.lua)    |
| `gaps`        | sorted set | indexes that a count of lane 0 leaves out (see gaps.lua)        |
| `due`         | sorted set | request id of a waiting job -> its deadline (see tickets.lua)   |
| `file_holders`| hash       | payload file -> entries and dead letters that name it           |
| `unneeded`    | sorted set | payload file that none names any more -> since when, ms         |
| `read_results`| sorted set | results that their owners have read, oldest first (reads.lua)   |
| `webhooks`    | stream     | ends of requests that a webhook reports (see outbox.lua)        |
| `webhooks:*`  | several    | deliveries of webhooks (see webhook_deliveries.py)              |
| `artifacts`   | hash       | request id -> files that its job has added (see artifacts.lua)  |
| `dead_logs`   | hash       | request id -> log of its dead letter (see logs.lua)             |
| `listed`      | sorted set | owner, list, time, request id: jobs that an API lists, such as  |
|               |            | videos, in the order of their creation (see listed.lua)         |
| `usage`       | hash       | hour, token, owner -> what they used (see usage.lua)            |
| `usage_hours` | sorted set | the fields of `usage` -> their hours since 1970                 |
| `history`     | list       | recent run times, ms; with a TTL                                |
| `activity`    | hash       | sums of each minute, `latest_runs`: list; both with a TTL       |
| `scale`       | hash       | the autoscaler's lease and last report; with a TTL (scaling.py) |
| `interfaces`  | hash       | what its workers declare, by digest (interfaces.py)            |

The unit separator (0x1F) joins the parts of a field or member; no name may contain it.  Names that
belong to an owner other than the service's own token are `<owner>`, the record separator (0x1E) and
the name: request ids and idempotency keys, groups of the sink, users of the input queue (see
prelude/owners.lua).

Further keys, with a TTL: `idempotency:<key>` (text): index and request id of a put;
`events:<request id>` and `log:<request id>` (streams): events and log of a job; `rate:<token id>`
(text): when the rate limit of a token is fully available again, ms.

When they are removed: entries and their records by commit, complete, delete or truncate; a
subscriber when its connection closes or its lease ends; a group some time after its last member
left; a dead letter when it is replayed, purged or displaced by newer ones.  `gaps` has a limit and
is removed when the input queue is empty.  `lines`, `shares` and `running` are removed with an
owner's last waiting or running entry, `owned` with its last entry or ticket.  A file leaves
`unneeded` once its content is removed.  A job leaves `due` when it starts or ends, `read_results`
with its result, `artifacts` with its result or its ticket, `listed` with its ticket, and
`dead_logs` with the dead letter.  `meta`, `groups` and `members` exist as long as the service.
Rows of `usage` expire; they outlive their service.  A ticket expires at a set time, or some time
after its last entry is removed.
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
    "due",
    "file_holders",
    "unneeded",
    "read_results",
    "webhooks",
    "artifacts",
    "dead_logs",
    "listed",
    "usage",
    "usage_hours",
)


class Keys:
    """The keys of one service.

    incarnation: tells services apart that had this name one after the other (registry.py); 0 for
        a service from the settings, whose keys have no such part.
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
        """The keys that both queues share, in the order in which the scripts expect them."""
        return [f"{self._base}:{name}" for name in _SHARED_NAMES]

    @property
    def file_holders(self) -> str:
        """The key of the payload files that entries and dead letters name."""
        return f"{self._base}:file_holders"

    @property
    def unneeded(self) -> str:
        """The key of the payload files that nothing names any more."""
        return f"{self._base}:unneeded"

    def webhooks(self, name: str = "") -> str:
        """The outbox of the webhooks, or one key of their deliveries."""
        return f"{self._base}:webhooks" + (name and f":{name}")

    @property
    def artifacts(self) -> str:
        """The key of the files that jobs have added beside their results."""
        return f"{self._base}:artifacts"

    @property
    def usage(self) -> tuple[str, str]:
        """The keys of what tokens have used: the rows, and their hours."""
        return f"{self._base}:usage", f"{self._base}:usage_hours"

    @property
    def history(self) -> str:
        """The key of recent run times."""
        return f"{self._base}:history"

    @property
    def activity(self) -> str:
        """The key of the sums of each minute of a day (activity.py)."""
        return f"{self._base}:activity"

    @property
    def latest_runs(self) -> str:
        """The key of the latest runs that ended (activity.py)."""
        return f"{self._base}:latest_runs"

    @property
    def scale(self) -> str:
        """The key of the autoscaler's lease and last report."""
        return f"{self._base}:scale"

    @property
    def interfaces(self) -> str:
        """The key of what its workers declare."""
        return f"{self._base}:interfaces"

    def events(self, request_id: str) -> str:
        """The key of the events of a job."""
        return f"{self._base}:events:{request_id}"

    def log(self, request_id: str) -> str:
        """The key of the log of a job."""
        return f"{self._base}:log:{request_id}"

    def rate(self, token_id: str) -> str:
        """The key of the rate limit of a token."""
        return f"{self._base}:rate:{token_id}"

    def submission(self, key: str) -> str:
        """The key of a submission with an idempotency key: the request id of its job."""
        return f"{self._base}:idempotency:{key}"

    def idempotency(self, role: Role, key: str) -> str:
        """The key of a put with an idempotency key: its index and request id."""
        return f"{self._base}:{role}:idempotency:{key}"


def other(role: Role) -> Role:
    """Return the role of the other queue of a service."""
    return "sink" if role == "input" else "input"
