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
    """One entry that a dead worker held: whose it was, and how long it sat there."""

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

    def first_delivery_after(self, at: float) -> float | None:
        """Return how long after `at` anybody was given anything; None for never."""
        later = [given.at for given in self._deliveries if given.at > at]
        return min(later) - at if later else None


def _is_newer(given: Event, than: Event) -> bool:
    # A dead letter that went to the rear has another index: it waits there, and for nobody dead.
    return given.index == than.index and given.attempt >= than.attempt
