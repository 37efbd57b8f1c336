"""Which workers leave: the choice, with plain values."""

import pytest

from queue_service.service.estimate import RunTimes
from queue_service.service.leaving import Candidate, choose, ends_in_s


def names(candidates: list[Candidate], count: int) -> list[str]:
    return [one.uid for one in choose(candidates, count)]


def test_an_idle_worker_leaves_before_a_busy_one() -> None:
    workers = [Candidate("busy", held=1, ends_in_s=0.1), Candidate("idle", held=0)]
    assert names(workers, 1) == ["idle"]
    assert names(workers, 2) == ["idle", "busy"]


def test_of_busy_workers_the_one_that_is_done_soonest_leaves() -> None:
    workers = [
        Candidate("unknown", held=1, ends_in_s=None),
        Candidate("late", held=1, ends_in_s=60.0),
        Candidate("soon", held=3, ends_in_s=2.0),
    ]
    assert names(workers, 3) == ["soon", "late", "unknown"]


def test_of_busy_workers_with_unknown_ends_the_one_with_fewest_entries_leaves() -> None:
    workers = [Candidate("full", held=5), Candidate("one", held=1)]
    assert names(workers, 1) == ["one"]


def test_of_idle_workers_one_that_accepts_nothing_leaves_then_the_newest() -> None:
    workers = [
        Candidate("old", held=0, since_ms=1),
        Candidate("new", held=0, since_ms=2),
        Candidate("resting", held=0, window=0, since_ms=0),
    ]
    assert names(workers, 3) == ["resting", "new", "old"]


def test_no_more_leave_than_there_are() -> None:
    assert names([Candidate("only", held=0)], 5) == ["only"]
    assert names([], 5) == []


@pytest.mark.parametrize(
    ("elapsed_s", "expected"),
    [
        # All that it runs must end: the entry that takes longest decides.
        ([0.0, 9.0], 10.0),
        ([9.0], 1.0),
        # It is not known since when it runs: a whole run.
        ([None], 10.0),
        ([], None),
    ],
)
def test_a_worker_ends_with_its_last_entry(
    elapsed_s: list[float | None], expected: float | None
) -> None:
    assert ends_in_s(RunTimes.of([10.0, 10.0, 10.0]), elapsed_s) == expected


def test_without_run_times_no_end_is_known() -> None:
    assert ends_in_s(RunTimes.of([]), [1.0]) is None
