"""Which started workers have not connected yet."""

from deploy.autoscaling.driver import Started
from deploy.autoscaling.starting import (
    LONGEST_AWAY_S,
    LONGEST_START_S,
    Expected,
    starting_of,
    surplus,
)


def test_a_started_worker_is_known_by_its_machine_and_process() -> None:
    started = [Started("a", 1), Started("a", 2), Started("b", 1)]
    assert starting_of(started, []) == 3
    assert starting_of(started, [Started("a", 1), Started("b", 1)]) == 1


def test_workers_of_others_do_not_hide_a_worker_that_loads() -> None:
    assert starting_of([Started("a", 1)], [Started("elsewhere", 1), Started("a", 7)]) == 1


def test_a_container_is_known_by_its_name_alone() -> None:
    assert starting_of([Started("c1"), Started("c2")], [Started("c1", 1)]) == 1


def test_a_driver_that_cannot_tell_is_believed_for_a_while() -> None:
    expected = Expected.started(3, now_s=100.0, load_s=None)
    assert expected.seen(1, now_s=101.0).missing(1) == 2
    assert expected.seen(3, now_s=101.0).missing(3) == 0
    assert expected.seen(1, now_s=100.0 + LONGEST_START_S).missing(1) == 0


def test_where_the_load_time_is_known_a_lost_start_is_noticed_sooner() -> None:
    expected = Expected.started(1, now_s=0.0, load_s=2.0)
    assert expected.seen(0, now_s=20.0).missing(0) == 1
    assert expected.seen(0, now_s=50.0).missing(0) == 0


def test_the_next_autoscaler_expects_the_same() -> None:
    expected = Expected.started(3, now_s=100.0, load_s=None)
    assert Expected.from_json(expected.to_json(), now_s=101.0) == expected
    for unreadable in (None, [], ["x", 1.0], {"workers": 3}):
        assert Expected.from_json(unreadable, now_s=101.0) == Expected()


def test_an_autoscaler_whose_clock_was_ahead_makes_nobody_wait_longer() -> None:
    ahead = Expected.started(3, now_s=90_000.0, load_s=None)
    read = Expected.from_json(ahead.to_json(), now_s=100.0)
    assert read.seen(0, now_s=101.0).missing(0) == 3
    assert read.seen(0, now_s=100.0 + LONGEST_START_S).missing(0) == 0


def test_workers_that_are_away_for_a_moment_are_not_replaced() -> None:
    expected = Expected().seen(4, now_s=0.0)
    assert expected.seen(0, now_s=5.0).missing(0) == 4
    assert expected.seen(0, now_s=LONGEST_AWAY_S).missing(0) == 0


def test_only_connected_workers_beyond_the_wanted_number_are_asked_to_leave() -> None:
    assert surplus(6, 4, loading=0) == 2
    assert surplus(6, 4, loading=1) == 1
    assert surplus(2, 0, loading=1) == 1


def test_workers_that_have_left_are_not_asked_for_a_second_time() -> None:
    """The next autoscaler may still expect those that the one before it has had leave."""
    expected = Expected.from_json(Expected.started(6, now_s=0.0, load_s=None).to_json(), now_s=1.0)
    missing = expected.seen(4, now_s=2.0).missing(4)
    assert surplus(4 + missing, 4, loading=missing) == 0
