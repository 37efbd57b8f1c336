"""A run's events, sorted into what the rules ask about.  No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from client_sdk.wire.codes import SHUTDOWN
from tests.faults.event import Event, What


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken: its name, a sentence, and where to look."""

    rule: str
    sentence: str
    request_id: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"


@dataclass(slots=True)
class Request:
    """All that is known of one request id."""

    asked: float | None = None
    accepted: float | None = None
    refused: bool = False
    dead_letters: int = 0
    deliveries: list[Event] = field(default_factory=list)
    completions: list[Event] = field(default_factory=list)  # accepted ones
    reads: dict[int, list[Event]] = field(default_factory=dict)  # by index in the sink
    given_back: bool = False  # once with `Shutdown`, which takes the attempt back


@dataclass(slots=True)
class Hold:
    """One delivery in one worker's hands, from when to when, as the worker saw it."""

    delivery: Event
    connection: int  # the ordinal of the worker's connection
    until: float = float("inf")


class History:
    """The events of one run."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = list(events)
        self.requests: defaultdict[str, Request] = defaultdict(Request)
        self.workers: defaultdict[str, list[Event]] = defaultdict(list)
        self.committed: dict[int, float] = {}
        self._completed: set[tuple[str, int, int]] = set()
        for event in self.events:
            self._sort_in(event)

    def _sort_in(self, event: Event) -> None:
        if event.request_id:
            self._note_of(self.requests[event.request_id], event)
        if event.what is What.COMMITTED:
            self.committed.setdefault(event.index, event.at)
        if event.what in _OF_WORKERS:
            self.workers[event.who].append(event)
        elif event.what is What.KILLED and event.code in self.workers:
            self.workers[event.code].append(event)

    def _note_of(self, request: Request, event: Event) -> None:
        match event.what:
            case What.ASKED if request.asked is None:
                request.asked = event.at
            case What.ACCEPTED:
                request.accepted = event.at
            case What.REFUSED:
                request.refused = True
            case What.READ:
                request.reads.setdefault(event.index, []).append(event)
            case What.DEAD_LETTER:
                request.dead_letters += 1
            case What.DELIVERED:
                request.deliveries.append(event)
            case What.COMPLETED:
                self._completed.add((event.who, event.index, event.attempt))
            case What.OUTCOME if not event.code:
                if (event.who, event.index, event.attempt) in self._completed:
                    request.completions.append(event)
            case What.REJECTED if event.code == SHUTDOWN:
                request.given_back = True
            case _:
                pass

    def holds(self) -> Iterator[Hold]:
        """Every delivery with the time at which its worker stopped answering for it.

        That is when it answered, was told that the delivery is lost, lost or closed its
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
                            hold.until = event.at
                            yield hold
                    case What.DISCONNECTED | What.CLOSING | What.KILLED:
                        for hold in open_holds.values():
                            hold.until = event.at
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
    What.DELIVERED,
    What.COMPLETED,
    What.REJECTED,
    What.LOST,
    What.OUTCOME,
}
