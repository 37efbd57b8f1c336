"""The figures of a run are read from its events as they are meant."""

from pathlib import Path

from tests.faults.event import Event, What
from tests.faults.history import History
from tests.faults.journal import Journal
from tests.faults.recovery import Timeline, percentile
from tests.faults.registrar import Registrar
from tests.waiting import let_pass


def delivered(at: float, who: str, *, attempt: int = 1) -> Event:
    return Event(at, who, What.DELIVERED, "r1", 1, attempt)


def test_the_time_with_a_dead_holder_ends_when_another_worker_gets_the_entry() -> None:
    events = [
        delivered(1.0, "a"),
        Event(2.0, "us", What.KILLED, code="a"),
        delivered(2.5, "b", attempt=2),
    ]
    (found,) = Timeline(History(events)).redelivered("a", 2.0)
    assert (found.request_id, found.after_s) == ("r1", 0.5)


def test_what_a_worker_answered_before_it_died_has_no_dead_holder() -> None:
    events = [
        delivered(1.0, "a"),
        Event(1.5, "a", What.COMPLETED, "r1", 1, 1),
        Event(2.0, "us", What.KILLED, code="a"),
    ]
    assert Timeline(History(events)).redelivered("a", 2.0) == []


def test_what_a_frozen_worker_answered_after_all_has_no_dead_holder() -> None:
    events = [delivered(1.0, "a"), Event(4.0, "a", What.COMPLETED, "r1", 1, 1)]
    assert Timeline(History(events)).redelivered("a", 2.0) == []


def behind(*, after: list[Event]) -> list[float]:
    """What worker `a` held went on this long after its process was frozen at 2.0."""
    events = [
        delivered(1.0, "a"),
        Event(1.5, "a", What.COMPLETED, "r1", 1, 1),
        Event(12.0, "a", What.DISCONNECTED),
        *after,
    ]
    return [one.after_s for one in Timeline(History(events)).resumed(2.0, within_s=15.0)]


def test_what_hung_on_a_frozen_process_goes_on_when_its_answer_is_accepted_over_another() -> None:
    assert behind(after=[Event(12.5, "a", What.OUTCOME, "r1", 1, 1)]) == [10.5]


def test_what_hung_on_a_frozen_process_goes_on_when_another_worker_is_given_it() -> None:
    refused = Event(12.5, "a", What.OUTCOME, "r1", 1, 1, code="LEASE_LOST")
    assert behind(after=[delivered(12.25, "b", attempt=2), refused]) == [10.25]


def test_what_was_accepted_before_the_process_was_frozen_did_not_hang_on_it() -> None:
    events = [
        delivered(1.0, "a"),
        Event(1.5, "a", What.COMPLETED, "r1", 1, 1),
        Event(1.6, "a", What.OUTCOME, "r1", 1, 1),
        Event(12.0, "a", What.DISCONNECTED),
    ]
    assert Timeline(History(events)).resumed(2.0, within_s=15.0) == []


def test_the_first_delivery_after_a_moment_is_found() -> None:
    timeline = Timeline(History([delivered(1.0, "a"), delivered(3.0, "a", attempt=2)]))
    assert timeline.first_delivery_after(2.0) == 1.0
    assert timeline.first_delivery_after(4.0) is None


def test_a_percentile_is_a_value_that_was_there() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.99) == 2.0
    assert percentile([], 0.99) == 0.0


async def test_a_round_without_teams_is_not_held_up_by_their_tokens(tmp_path: Path) -> None:
    registrar = Registrar([], "svc")
    journal = Journal(tmp_path / "us.jsonl", "us")
    async with registrar.running([], journal):
        await let_pass(0.01)
