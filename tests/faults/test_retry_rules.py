"""The checker knows pauses, the most attempts, owners and revoked tokens."""

from collections.abc import Callable

import pytest

from tests.faults.cells import Cell, Fault, Victim
from tests.faults.checker import check
from tests.faults.event import What
from tests.faults.story import LEASE_S, Story

MINE, THEIRS = "amber/job-1", "blue/job-1"


def put(request_id: str = MINE, *, most: int = 3, token: str = "old") -> Story:
    """A team's job, and two workers."""
    story = Story().connect("a").connect("b")
    story.say("amber", What.ASKED, request_id, most=most, code=token)
    return story.say("amber", What.ACCEPTED, request_id)


def fail(story: Story, attempt: int, *, pause_ms: int, code: str = "", who: str = "a") -> Story:
    """An attempt fails, and the worker reports it; code: why that is refused."""
    held = {"index": 1, "attempt": attempt}
    story.deliver(who, MINE, 1, attempt)
    story.say(who, What.REJECTED, MINE, code="Odd", kind="transient", pause_ms=pause_ms, **held)
    return story.say(who, What.OUTCOME, MINE, code=code, **held)


def succeed(story: Story, attempt: int, *, who: str = "b") -> Story:
    story.deliver(who, MINE, 1, attempt).complete(who, MINE, 1, attempt)
    return story.say("amber", What.READ, MINE, index=-1 - attempt, attempt=attempt)


def test_an_attempt_after_its_pause_breaks_no_rule() -> None:
    # From the failure to the next attempt it is a fifth of a second.
    assert succeed(fail(put(), 1, pause_ms=200), 2).rules() == set()


def test_an_attempt_within_the_pause_is_found() -> None:
    assert succeed(fail(put(), 1, pause_ms=900), 2).rules() == {"pause"}


def test_the_clock_of_redis_may_be_a_little_ahead() -> None:
    assert succeed(fail(put(), 1, pause_ms=205), 2).rules() == set()
    assert succeed(fail(put(), 1, pause_ms=220), 2).rules() == {"pause"}


def test_a_pause_that_is_forgotten_while_redis_is_away_is_found() -> None:
    story = fail(put(), 1, pause_ms=5000).say("us", What.HURT, code="Redis: SIGKILL (redis)")
    story.say("us", What.HEALED, code="Redis: SIGKILL (redis)")
    assert succeed(story, 2).rules() == {"pause"}


def test_a_pause_binds_every_later_attempt() -> None:
    story = fail(put(most=5), 1, pause_ms=900).deliver("b", MINE, 1, 3)
    assert "pause" in story.rules()


def test_a_pause_that_the_service_did_not_accept_binds_nobody() -> None:
    story = fail(put(), 1, pause_ms=60_000, code="LEASE_LOST")
    assert succeed(story, 2).rules() == set()


def test_a_failure_that_is_said_again_pauses_from_when_it_was_said_first() -> None:
    story = put().deliver("a", MINE, 1, 1)
    for _ in range(2):
        story.say(
            "a", What.REJECTED, MINE, index=1, attempt=1, code="Odd", kind="oom", pause_ms=350
        )
    story.say("a", What.OUTCOME, MINE, index=1, attempt=1)
    assert succeed(story, 2).rules() == {"pause"}
    story = put().deliver("a", MINE, 1, 1)
    for _ in range(2):
        story.say(
            "a", What.REJECTED, MINE, index=1, attempt=1, code="Odd", kind="oom", pause_ms=300
        )
    story.say("a", What.OUTCOME, MINE, index=1, attempt=1)
    assert succeed(story, 2).rules() == set()


def test_where_the_clock_of_redis_was_moved_a_pause_says_nothing() -> None:
    moved = f"{Cell(Victim.REDIS, Fault.CLOCK)} (redis)"
    story = fail(put(), 1, pause_ms=5000).say("us", What.HURT, code=moved)
    story.say("us", What.HEALED, code=moved)
    assert succeed(story, 2).rules() == set()
    story = put().say("us", What.HURT, code=moved).say("us", What.HEALED, code=moved)
    assert succeed(fail(story, 1, pause_ms=5000), 2).rules() == {"pause"}


def test_more_attempts_than_asked_for_are_found() -> None:
    assert succeed(fail(put(most=2), 1, pause_ms=0), 2).rules() == set()
    assert succeed(fail(fail(put(most=2), 1, pause_ms=0), 2, pause_ms=0), 3).rules() == {"attempts"}


def test_attempts_that_are_counted_from_1_under_another_index_are_found() -> None:
    story = fail(put(most=1), 1, pause_ms=0).deliver("b", MINE, 2, 1)
    assert "attempts" in story.rules()


def test_attempts_that_a_leaving_worker_gives_back_are_not_counted() -> None:
    story = put(most=1).deliver("a", MINE, 1, 1)
    story.say("a", What.REJECTED, MINE, index=1, attempt=1, code="Shutdown")
    assert succeed(story, 1).rules() == set()


def test_an_attempt_that_a_pause_takes_back_is_found() -> None:
    assert "attempt" in succeed(fail(put(), 1, pause_ms=100), 1).rules()


def test_two_results_of_one_job_are_found() -> None:
    story = succeed(put(), 1).say("amber", What.READ, MINE, index=-1, code="error")
    assert story.rules() == {"duplicated"}


def test_the_same_result_may_be_read_twice() -> None:
    story = succeed(put(), 1).say("amber", What.READ, MINE, index=-2, attempt=1)
    assert story.rules() == set()


def two_teams(*, data: str) -> Story:
    """Both use the same id; what `amber` reads of its own has these data."""
    story = put()
    story.say("blue", What.ASKED, THEIRS, code="theirs").say("blue", What.ACCEPTED, THEIRS)
    story.deliver("a", MINE, 1).deliver("b", THEIRS, 2)
    story.complete("a", MINE, 1).complete("b", THEIRS, 2)
    story.say("blue", What.READ, THEIRS, index=-2, attempt=1)
    return story.say(
        "amber", What.READ, MINE, index=-2, attempt=1, code="" if data == MINE else data
    )


def test_two_teams_may_use_the_same_id() -> None:
    story = two_teams(data=MINE)
    assert story.rules() == set()
    assert check(story.events, lease_s=LEASE_S).retries.shared == 1


def test_another_team_s_result_is_found() -> None:
    assert two_teams(data=THEIRS).rules() == {"foreign"}


def test_an_id_that_is_kept_from_a_team_because_another_has_it_is_found() -> None:
    story = Story().say("amber", What.ASKED, MINE).say("amber", What.REFUSED, MINE, code="in use")
    assert story.rules() == {"foreign"}


def test_a_job_of_another_team_in_the_list_is_found() -> None:
    story = Story().say("amber", What.READ, "amber/job-1-7", index=-1, code="error")
    assert story.rules() == {"invented"}


def test_two_teams_entries_with_one_index_have_two_holders() -> None:
    """The indexes of two services are the same numbers."""
    story = Story().connect("a").connect("b")
    for number in range(1, 10):
        story.put(f"r{number}").deliver("a", f"r{number}", number)
        if number > 1:
            story.complete("a", f"r{number}", number).read(f"r{number}", number)
    story.say("amber", What.ASKED, MINE).say("amber", What.ACCEPTED, MINE).deliver("b", MINE, 1, 2)
    assert "two holders" not in story.rules()


def revoked(*, put_after_s: float, hurt: str = "") -> Story:
    """A token ends, and something is put with it so much later, and accepted."""
    story = Story().say("us", What.REVOKED, code="old")
    if hurt:
        story.say("us", What.HURT, code=hurt)
    story.wait(put_after_s).connect("a")
    story.say("amber", What.ASKED, MINE, code="old").say("amber", What.ACCEPTED, MINE)
    return succeed(story, 1, who="a")


def test_what_is_accepted_with_a_revoked_token_is_found() -> None:
    assert revoked(put_after_s=5.0).rules() == {"revoked"}


def test_a_revocation_may_take_its_second() -> None:
    assert revoked(put_after_s=0.5).rules() == set()


def test_a_replica_that_cannot_know_of_a_revocation_is_no_fault() -> None:
    frozen = f"{Cell(Victim.SERVICE, Fault.STOP)} (s1.1)"
    assert revoked(put_after_s=5.0, hurt=frozen).rules() == set()
    other = f"{Cell(Victim.WORKER, Fault.STOP)} (w1.1)"
    assert revoked(put_after_s=5.0, hurt=other).rules() == {"revoked"}


def test_what_was_accepted_before_the_token_ended_has_its_result() -> None:
    story = put(token="old").say("us", What.REVOKED, code="old")
    assert story.rules() == {"lost"}
    assert succeed(story, 1).rules() == set()


def test_what_was_refused_with_a_revoked_token_has_no_result() -> None:
    story = Story().connect("a").say("us", What.REVOKED, code="old")
    story.say("amber", What.ASKED, MINE, code="old").say("amber", What.REFUSED, MINE)
    assert story.rules() == set()
    assert check(story.events, lease_s=LEASE_S).retries.refused == 1
    assert "invented" in succeed(story, 1, who="a").rules()


ENDS: dict[str, Callable[[], Story]] = {
    "succeeded": lambda: succeed(fail(put(), 1, pause_ms=100), 2),
    "failed": lambda: put().say("amber", What.READ, MINE, index=-1, code="error"),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_was_tried_again_is_counted(end: str) -> None:
    found = check(ENDS[end]().events, lease_s=LEASE_S).retries
    assert (found.jobs, dict(found.results)) == (1, {end: 1})
    if end == "succeeded":
        assert (found.pauses, dict(found.failures)) == (1, {"transient": 1})
