"""How long things took, read from the events of a run.  No I/O, and no rule: only figures."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tests.faults.event import Event, What
from tests.faults.history import History, Hold


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that so large a share of the values does not exceed; 0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Redelivered:
    """One entry that a dead worker held, or one behind a dead process: how long it sat there."""

    who: str
    request_id: str
    after_s: float


class Timeline:
    """The deliveries and holds of a run, found by time."""

    def __init__(self, history: History) -> None:
        self._holds: defaultdict[str, list[Hold]] = defaultdict(list)
        for hold in history.holds():
            self._holds[hold.delivery.who].append(hold)
        self._by_request = {
            request_id: request.deliveries for request_id, request in history.requests.items()
        }
        self._deliveries = [e for e in history.events if e.what is What.DELIVERED]
        self._workers = history.workers
        self._settled = {
            request_id: [outcome.at for outcome in request.completions]
            for request_id, request in history.requests.items()
        }

    def redelivered(self, who: str, died_at: float) -> list[Redelivered]:
        """Return when others were given what this worker held when it died or fell silent.

        What it answered itself after all is not among them.
        """
        found = []
        for hold in self._holds[who]:
            if not hold.delivery.at <= died_at <= hold.until:
                continue
            request_id = hold.delivery.request_id
            later = [
                given.at
                for given in self._by_request[request_id]
                if given.at > died_at and given.who != who and _is_newer(given, hold.delivery)
            ]
            if later:
                found.append(Redelivered(who, request_id, min(later) - died_at))
        return found

    def resumed(self, died_at: float, *, within_s: float) -> list[Redelivered]:
        """Return when what workers held behind a process that fell silent went on.

        Behind it are those whose connection ends within this time after it.  What they held goes
        on when its answer is accepted, theirs over another process or another worker's, or when
        it is delivered again.
        """
        found = []
        for who, events in self._workers.items():
            ends = [e.at for e in events if e.what is What.DISCONNECTED and e.at > died_at]
            if not ends or ends[0] > died_at + within_s:
                continue
            for given in _unsettled(events, died_at):
                if (after_s := self._went_on(given, died_at)) is not None:
                    found.append(Redelivered(who, given.request_id, after_s))
        return found

    def _went_on(self, given: Event, died_at: float) -> float | None:
        later = [
            again.at
            for again in self._by_request[given.request_id]
            if again.at > died_at and again.index == given.index
        ]
        later += [at for at in self._settled[given.request_id] if at > died_at]
        return min(later) - died_at if later else None

    def first_delivery_after(self, at: float) -> float | None:
        """Return how long after `at` anybody was given anything; None for never."""
        later = [given.at for given in self._deliveries if given.at > at]
        return min(later) - at if later else None


def _unsettled(events: list[Event], at: float) -> list[Event]:
    """Return the deliveries of a worker that it had, and no outcome of, at this time."""
    had: dict[tuple[int, int], Event] = {}
    for event in events:
        if event.at > at:
            break
        if event.what is What.DELIVERED:
            had[event.index, event.attempt] = event
        elif event.what in {What.OUTCOME, What.LOST}:
            had.pop((event.index, event.attempt), None)
    return list(had.values())


def _is_newer(given: Event, than: Event) -> bool:
    # A dead letter that went to the rear has another index: it waits there, and for nobody dead.
    return given.index == than.index and given.attempt >= than.attempt
