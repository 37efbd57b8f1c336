"""A run's events, sorted into what the rules ask about.  No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from client_sdk.wire.codes import SHUTDOWN
from tests.faults.event import Event, What


def owner_of(request_id: str) -> str:
    """Return the team that a request is of; "" for those of the service's own token."""
    owner, slash, _ = request_id.partition("/")
    return owner if slash else ""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken: its name, a sentence, and where to look."""

    rule: str
    sentence: str
    request_id: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Pause:
    """What the service accepted: no attempt of this entry behind `attempt` before `until`."""

    index: int
    attempt: int
    began: float
    until: float


@dataclass(slots=True)
class Request:
    """All that is known of one request id."""

    asked: float | None = None
    accepted: float | None = None
    refused: bool = False
    in_use: bool = False  # it was refused because its id is in use for something else
    dead_letters: int = 0
    deliveries: list[Event] = field(default_factory=list)
    completions: list[Event] = field(default_factory=list)  # accepted ones
    reads: dict[int, list[Event]] = field(default_factory=dict)  # by index in the sink
    given_back: bool = False  # once without a charge, which takes the attempt back
    most: int = 0  # attempts that it may have; 0 is as many as the service permits
    token: str = ""  # with which it was put
    pauses: list[Pause] = field(default_factory=list)


@dataclass(slots=True)
class Hold:
    """One delivery in one worker's hands, from when to when, as the worker saw it.

    end: what it noted then; None if its journal ends before that.
    """

    delivery: Event
    connection: int  # the ordinal of the worker's connection
    until: float = float("inf")
    end: Event | None = None


class History:
    """The events of one run."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = list(events)
        self.requests: defaultdict[str, Request] = defaultdict(Request)
        self.workers: defaultdict[str, list[Event]] = defaultdict(list)
        self.committed: dict[int, float] = {}
        #: By token, when its revocation was confirmed.
        self.revoked: dict[str, float] = {}
        #: By worker, when it was asked to leave.
        self.leaving: dict[str, float] = {}
        #: Processes that were killed, and all others that faults were aimed at.
        self.hurt: set[str] = set()
        #: Whether the processes were ended: who has not answered until then never will.
        self.is_over = any(event.what is What.ENDING for event in self.events)
        self._completed: set[tuple[str, int, int]] = set()
        self._rejected: dict[tuple[str, int, int], Event] = {}
        for event in self.events:
            self._sort_in(event)

    def _sort_in(self, event: Event) -> None:
        if event.request_id:
            self._note_of(self.requests[event.request_id], event)
        if event.what is What.REVOKED:
            self.revoked.setdefault(event.code, event.at)
        if event.what is What.COMMITTED:
            self.committed.setdefault(event.index, event.at)
        if event.what is What.LEAVING:
            self.leaving.setdefault(event.who, event.at)
        if event.what is What.KILLED:
            self.hurt.add(event.code)
        elif event.what is What.HURT:
            self.hurt.update(event.code.rpartition("(")[2].rstrip(")").split(", "))
        if event.what in _OF_WORKERS:
            self.workers[event.who].append(event)
        elif event.what is What.KILLED and event.code in self.workers:
            self.workers[event.code].append(event)

    def _note_of(self, request: Request, event: Event) -> None:
        match event.what:
            case What.ASKED if request.asked is None:
                request.asked = event.at
                request.most, request.token = event.most, event.code
            case What.ACCEPTED:
                request.accepted = event.at
            case What.REFUSED:
                request.refused = True
                request.in_use = request.in_use or event.code == "in use"
            case What.READ:
                request.reads.setdefault(event.index, []).append(event)
            case What.DEAD_LETTER:
                request.dead_letters += 1
            case What.DELIVERED:
                request.deliveries.append(event)
            case What.COMPLETED:
                self._completed.add((event.who, event.index, event.attempt))
            case What.OUTCOME if not event.code:
                key = (event.who, event.index, event.attempt)
                if key in self._completed:
                    request.completions.append(event)
                elif (said := self._rejected.get(key)) and said.pause_ms:
                    until = said.at + said.pause_ms / 1000
                    request.pauses.append(Pause(said.index, said.attempt, said.at, until))
            case What.REJECTED:
                # What is said again after a lost connection says the same.
                self._rejected.setdefault((event.who, event.index, event.attempt), event)
                request.given_back = request.given_back or event.uncharged or event.code == SHUTDOWN
            case _:
                pass

    def spells(self, *of: str) -> list[tuple[float, float]]:
        """From when to when something was hurt whose description has one of these texts."""
        begun: dict[str, float] = {}
        found = []
        for event in self.events:
            if event.what is What.HURT and any(text in event.code for text in of):
                begun[event.code] = event.at
            elif event.what is What.HEALED and event.code in begun:
                found.append((begun.pop(event.code), event.at))
        return found + [(at, float("inf")) for at in begun.values()]

    def holds(self) -> Iterator[Hold]:
        """Every delivery with the time at which its worker stopped answering for it.

        That is when it answered, learned that the delivery is lost, lost or closed its
        connection, or was killed.
        """
        for events in self.workers.values():
            open_holds: dict[tuple[int, int], Hold] = {}
            connection = 0
            for event in events:
                key = (event.index, event.attempt)
                match event.what:
                    case What.CONNECTED:
                        connection += 1
                    case What.DELIVERED:
                        open_holds[key] = Hold(event, connection)
                    case What.COMPLETED | What.REJECTED | What.LOST:
                        if hold := open_holds.pop(key, None):
                            hold.until, hold.end = event.at, event
                            yield hold
                    case What.DISCONNECTED | What.CLOSING | What.KILLED:
                        for hold in open_holds.values():
                            hold.until, hold.end = event.at, event
                        yield from open_holds.values()
                        open_holds = {}
                    case _:
                        pass
            yield from open_holds.values()


_OF_WORKERS = {
    What.CONNECTED,
    What.WINDOW,
    What.DISCONNECTED,
    What.CLOSING,
    What.LEAVING,
    What.DELIVERED,
    What.COMPLETED,
    What.REJECTED,
    What.LOST,
    What.OUTCOME,
}
