"""One thing that one process of a run did, and when.

Times are CLOCK_MONOTONIC, which is one clock for all processes of a machine.
"""

import json
import time
from dataclasses import dataclass, fields
from enum import StrEnum


class What(StrEnum):
    """What can be noted."""

    # A client, about one request id.
    ASKED = "asked"  # a put is about to be sent
    ACCEPTED = "accepted"  # it was answered: index is the entry's
    REFUSED = (
        "refused"  # it was answered with a no: nothing may be stored; code "in use": of its id
    )
    UNKNOWN = "unknown"  # its answer was lost: it may be stored, once

    # A worker, about its connection or about one delivery of it.
    CONNECTED = "connected"  # the service said Welcome; window is what was asked for
    WINDOW = "window"  # how many it takes from now on
    DISCONNECTED = "disconnected"  # code: the close code, if there was one
    CLOSING = "closing"  # it leaves by its own will: it answers for nothing from here on
    LEAVING = "leaving"  # the service asked it to leave, because there are more than are needed
    DELIVERED = "delivered"  # index, attempt, lane
    COMPLETED = "completed"  # it answered with a result
    REJECTED = "rejected"  # it gave the delivery back; code says why, kind of what type it is
    LOST = "lost"  # it learned that the delivery is no longer its own
    OUTCOME = "outcome"  # what the service said to its answer: code "" is accepted

    # A reader of the sink, about one result; index is the sink's.
    STARTED = "started"  # a new process: whatever it reads, it asked for after this
    READ = "read"  # attempt is what made it; code "" is the right data, "error" an error result
    COMMITTED = "committed"  # the service confirmed that it is done with
    DEAD_LETTER = "dead letter"  # the entry ended without a result, on purpose
    WRONG = "wrong"  # a content is not what was written; code says how

    # What makes and ends tokens.
    REVOKED = "revoked"  # the service confirmed that the token named in code is no more

    # What changes the number of workers.
    DECIDES = "decides"  # an autoscaler has the lease of the service
    YIELDS = "yields"  # an autoscaler has noticed that another one has it
    CAME = "came"  # an autoscaler had the worker named in code started

    # What causes faults and ends them.
    KILLED = "killed"  # the process named in code is no more
    FROZEN = "frozen"  # the autoscaler named in code stands still
    HURT = "hurt"  # a fault begins; code names it
    HEALED = "healed"  # it is over
    ENDING = "ending"  # the round is over, and every process is asked to end
    UNREAD = "unread"  # index results are in the sink, which takes window of them


@dataclass(frozen=True, slots=True)
class Event:
    """What one process noted.

    at: seconds.  who: the process, or the worker's uid.  lane: 1 goes out before 0.
    pause_ms: how long the entry waits after a rejection.  most: the most attempts that are asked
    for; 0 leaves it to the service.  kind: the type of a failure.  uncharged: the attempt is taken
    back.
    """

    at: float
    who: str
    what: What
    request_id: str = ""
    index: int = 0
    attempt: int = 0
    lane: int = 0
    window: int = 0
    code: str = ""
    pause_ms: int = 0
    most: int = 0
    kind: str = ""
    uncharged: bool = False

    def to_line(self) -> bytes:
        """Return it as one line of JSON; what is not set is left out."""
        told: dict[str, object] = {"at": self.at, "who": self.who, "what": self.what}
        for field in _OPTIONAL:
            if value := getattr(self, field):
                told[field] = value
        return json.dumps(told, separators=(",", ":")).encode() + b"\n"


_OPTIONAL = tuple(field.name for field in fields(Event))[3:]


def from_line(line: bytes) -> Event:
    """Read what `to_line` wrote."""
    told = json.loads(line)
    return Event(what=What(told.pop("what")), **told)


def now() -> float:
    """The time of an event that happens now."""
    return time.monotonic()
