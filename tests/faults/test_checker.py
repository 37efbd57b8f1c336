"""The checker finds each violation, names its rule, and lets what is permitted pass."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.checker import check
from tests.faults.event import What, from_line
from tests.faults.journal import Journal, read
from tests.faults.story import LEASE_S, Story


def well() -> Story:
    """One request that is put, done and read."""
    story = Story().say("reader", What.STARTED).connect("a").connect("b")
    story.put("r1").deliver("a", "r1", 1).complete("a", "r1", 1)
    return story.read("r1", 1).commit("r1", 1)


def test_a_run_without_faults_breaks_no_rule() -> None:
    verdict = check(well().events, lease_s=LEASE_S)
    assert verdict.violations == ()
    assert (verdict.accepted, verdict.results, verdict.unknown) == (1, 1, 0)


def answered_between(code: str = "") -> Story:
    """Let `a` hold r1 and exchange words with the service for longer than a lease."""
    story = Story().connect("a").connect("b").put("r1").deliver("a", "r1", 1)
    for number in range(2, 10):
        story.put(f"r{number}").deliver("a", f"r{number}", number)
        story.complete("a", f"r{number}", number, code=code)
    return story


def read_all(story: Story) -> Story:
    for number in range(1, 10):
        story.read(f"r{number}", number)
    return story


SEEDED: dict[str, Callable[[], Story]] = {
    "lost": lambda: Story().put("r1"),
    "duplicated": lambda: well().read("r1", 2),
    "invented": lambda: well().read("nobody's", 3),
    "mixed up": lambda: Story().put("r1").read("r1", 1, "the data of r2"),
    "wrong bytes": lambda: well().say("us", What.WRONG, code="in its result 1 bytes of 2"),
    "window": lambda: (
        Story().connect("a", 1).put("r1", What.UNKNOWN).deliver("a", "r1", 1).deliver("a", "r2", 2)
    ),
    "sink room": lambda: well().say("us", What.UNREAD, index=11, window=10),
    "two holders": lambda: answered_between().deliver("b", "r1", 1, 2),
    "live lease": lambda: answered_between().say("a", What.DISCONNECTED, code="4408"),
    "fence": lambda: well().deliver("b", "r1", 1, 2),
    "attempt": lambda: well().deliver("b", "r1", 1, 1),
    "order": lambda: well().put("r2").read("r2", 2).deliver("b", "r2", 3).deliver("b", "r3", 2),
    "priority": lambda: (
        well()
        .put("first")
        .put("later")
        .deliver("b", "later", 3)
        .deliver("b", "first", 2, lane=1)
        .read("first", 2)
        .read("later", 3)
    ),
    "terminal": lambda: well().say("reader", What.STARTED).read("r1", 1),
}


@pytest.mark.parametrize("rule", SEEDED)
def test_a_violation_is_found_and_its_rule_is_named(rule: str) -> None:
    assert rule in SEEDED[rule]().rules()


def test_a_refused_request_that_has_a_result_is_found() -> None:
    assert Story().put("r1", What.REFUSED).read("r1", 1).rules() == {"invented"}


def test_two_completions_of_one_request_are_found() -> None:
    assert "fence" in well().complete("b", "r1", 1, 2).rules()


def test_a_delivery_after_the_completion_is_found() -> None:
    assert "terminal" in well().deliver("b", "r1", 1, 2).rules()


def test_a_stale_completion_that_was_accepted_is_found() -> None:
    story = Story().connect("a").connect("b").put("r1").deliver("a", "r1", 1)
    story.say("a", What.DISCONNECTED).deliver("b", "r1", 1, 2).complete("a", "r1", 1, 1)
    assert story.read("r1", 1).rules() == {"fence"}


def result_of_the_first_of_two() -> Story:
    """`a` loses r1 to `b`, and still the result that is read was made by the first attempt."""
    story = Story().connect("a").connect("b").put("r1").deliver("a", "r1", 1)
    story.say("a", What.DISCONNECTED).deliver("b", "r1", 1, 2)
    return story.say("reader", What.READ, "r1", index=1, attempt=1)


def test_a_result_of_a_stale_holder_is_found() -> None:
    assert result_of_the_first_of_two().rules() == {"fence"}


def test_a_worker_may_answer_a_newer_delivery_with_the_run_of_an_older_one() -> None:
    story = Story().connect("a").put("r1").deliver("a", "r1", 1).say("a", What.DISCONNECTED)
    story.connect("a").deliver("a", "r1", 1, 2)
    assert story.say("reader", What.READ, "r1", index=1, attempt=1).rules() == set()


def test_a_put_whose_answer_was_lost_may_have_a_result_or_none_but_not_two() -> None:
    assert Story().put("r1", What.UNKNOWN).rules() == set()
    assert Story().put("r1", What.UNKNOWN).read("r1", 1).rules() == set()
    assert Story().put("r1", What.UNKNOWN).read("r1", 1).read("r1", 2).rules() == {"duplicated"}
    assert Story().say("client", What.ASKED, "killed meanwhile").rules() == set()


def test_a_dead_letter_is_an_end_and_the_only_one() -> None:
    story = Story().put("r1").say("service", What.DEAD_LETTER, "r1")
    assert story.rules() == set()
    assert story.read("r1", 1).rules() == {"duplicated"}


def test_an_error_is_a_result() -> None:
    assert Story().put("r1").read("r1", 1, "error").rules() == set()


def test_the_same_entry_of_the_sink_may_come_again_until_it_is_committed() -> None:
    story = Story().say("reader", What.STARTED).put("r1").read("r1", 1).read("r1", 1)
    assert story.commit("r1", 1).read("r1", 1).rules() == set()


def test_a_redelivery_after_the_end_of_a_hold_is_no_second_holder() -> None:
    for end in (What.DISCONNECTED, What.CLOSING, What.LOST, What.REJECTED):
        story = answered_between().say("a", end, "r1", index=1, attempt=1)
        assert read_all(story.deliver("b", "r1", 1, 2)).rules() == set(), end
    killed = answered_between().say("us", What.KILLED, code="a")
    assert read_all(killed.deliver("b", "r1", 1, 2)).rules() == set()


def test_a_silent_holder_is_no_live_one() -> None:
    story = answered_between()
    for _ in range(10):
        story.say("us", What.HURT, code="a is frozen")
    assert read_all(story.deliver("b", "r1", 1, 2)).rules() == set()


def test_a_lease_that_ends_in_silence_is_no_fault() -> None:
    story = answered_between()
    for _ in range(10):
        story.say("us", What.HURT, code="a is frozen")
    assert read_all(story.say("a", What.DISCONNECTED, code="4408")).rules() == set()


def test_a_refused_answer_is_no_sign_of_a_live_lease() -> None:
    story = answered_between("LEASE_LOST").say("a", What.DISCONNECTED, code="4408")
    assert read_all(story).rules() == set()


def test_a_window_that_became_smaller_binds_later_deliveries() -> None:
    story = Story().connect("a", 2).put("r1", What.UNKNOWN).say("a", What.WINDOW, window=0)
    assert story.deliver("a", "r1", 1).rules() == set()


def test_what_was_given_back_by_a_leaving_worker_may_come_again_with_the_same_attempt() -> None:
    story = Story().connect("a").connect("b").put("r1").put("r2").deliver("a", "r1", 1)
    story.say("a", What.REJECTED, "r1", index=1, attempt=1, code="Shutdown")
    story.deliver("b", "r2", 2).deliver("b", "r1", 1).complete("b", "r1", 1)
    assert story.complete("b", "r2", 2).read("r1", 1).read("r2", 2).rules() == set()


def test_a_late_arrival_of_an_earlier_delivery_is_no_fault() -> None:
    story = Story().connect("a").connect("b").put("r1").deliver("b", "r1", 1, 2)
    story.complete("b", "r1", 1, 2).deliver("a", "r1", 1, 1).complete("a", "r1", 1, 1, "LEASE_LOST")
    assert story.read("r1", 1).rules() == set()


def test_an_urgent_request_that_was_not_answered_in_time_may_come_later() -> None:
    story = Story().connect("a").say("client", What.ASKED, "urgent").put("r2")
    story.deliver("a", "r2", 1).say("client", What.ACCEPTED, "urgent")
    assert story.deliver("a", "urgent", 2, lane=1).read("urgent", 1).read("r2", 2).rules() == set()


def test_what_was_noted_is_read_back_in_the_order_of_time(tmp_path: Path) -> None:
    first, second = (Journal(tmp_path / f"{who}.jsonl", who) for who in "ab")
    first.note(What.ASKED, "r1")
    second.note(What.DELIVERED, "r1", index=7, attempt=2, lane=1)
    first.note(What.ACCEPTED, "r1", index=7)
    first.close()
    second.close()
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b'{"at": 1.0, "who": "torn')

    events = read(tmp_path)

    assert [(event.who, event.what) for event in events] == [
        ("a", What.ASKED),
        ("b", What.DELIVERED),
        ("a", What.ACCEPTED),
    ]
    assert (events[1].index, events[1].attempt, events[1].lane) == (7, 2, 1)
    assert all(from_line(event.to_line()) == event for event in events)
