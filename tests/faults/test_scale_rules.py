"""Whether the checker sees what scaling cost, and lets pass what other faults cost."""

from collections.abc import Callable

import pytest

from tests.faults.event import What
from tests.faults.history import History
from tests.faults.scalings import count_scalings
from tests.faults.story import Story


def held() -> Story:
    """One job that `a` has, when it is asked to leave."""
    story = Story().connect("a").connect("b").put("r1").deliver("a", "r1", 1)
    return story.say("a", What.LEAVING)


def done_by_b(story: Story) -> Story:
    story.deliver("b", "r1", 1, 2).complete("b", "r1", 1, 2).read("r1", 1)
    return story.say("us", What.ENDING)


def back(story: Story, code: str) -> Story:
    return story.say("a", What.REJECTED, "r1", index=1, attempt=1, code=code)


CHARGED: dict[str, Callable[[], Story]] = {
    "its journal ends in the middle of a job": lambda: done_by_b(held()),
    "it closes and still holds a job": lambda: done_by_b(held().say("a", What.CLOSING)),
    "it gives a job back": lambda: done_by_b(back(held(), "Shutdown")),
    "nobody asked it, and it ends in the middle of a job": lambda: done_by_b(
        Story().connect("a").connect("b").put("r1").deliver("a", "r1", 1)
    ),
    "nobody asked it, and it ends before the round does": lambda: (
        Story().connect("a").say("a", What.CLOSING).say("us", What.ENDING)
    ),
    "it is given another job": lambda: (
        held().complete("a", "r1", 1).read("r1", 1).deliver("a", "r2", 2).complete("a", "r2", 2)
    ),
    "an attempt that nobody had": lambda: done_by_b(Story().connect("b").put("r1")),
}


@pytest.mark.parametrize("name", CHARGED)
def test_what_scaling_costs_is_found(name: str) -> None:
    assert "charged" in CHARGED[name]().rules()


def test_a_job_for_a_worker_that_leaves_breaks_the_rule_by_itself() -> None:
    story = held().deliver("a", "r2", 2).complete("a", "r2", 2).complete("a", "r1", 1)
    assert "charged" in story.rules()


def hurt(who: str) -> Story:
    story = Story().say("us", What.HURT, code=f"worker: SIGTERM ({who})")
    return story.connect("a").connect("b").put("r1").deliver("a", "r1", 1).say("a", What.LEAVING)


PERMITTED: dict[str, Callable[[], Story]] = {
    "it finishes late": lambda: held().wait(100).complete("a", "r1", 1).read("r1", 1),
    "the job fails by itself": lambda: done_by_b(back(held(), "Retryable")),
    "its engine is replaced, and it stays": lambda: done_by_b(
        back(Story().connect("a").connect("b").put("r1").deliver("a", "r1", 1), "Shutdown")
    ),
    "it is killed meanwhile": lambda: done_by_b(held().say("us", What.KILLED, code="a")),
    "a fault is aimed at it": lambda: done_by_b(back(hurt("a"), "Shutdown")),
    "its connection breaks": lambda: done_by_b(held().say("a", What.DISCONNECTED)),
    "it learns that the delivery is lost": lambda: done_by_b(
        held().say("a", What.LOST, "r1", index=1, attempt=1)
    ),
    "it answers for the newer attempt": lambda: (
        Story()
        .connect("a")
        .put("r1")
        .deliver("a", "r1", 1)
        .deliver("a", "r1", 1, 2)
        .complete("a", "r1", 1, 2)
        .read("r1", 1)
        .say("us", What.ENDING)
    ),
    "it has not answered yet, in the middle of a run": held,
    "it ends with the round": lambda: Story().connect("a").say("us", What.ENDING),
    "an attempt was on its way when something was hurt": lambda: done_by_b(
        Story().say("us", What.HURT, code="Redis: SIGKILL (redis)").connect("b").put("r1")
    ),
    "an attempt was on its way over a connection that broke": lambda: done_by_b(
        Story().connect("a").connect("b").put("r1").say("a", What.DISCONNECTED)
    ),
}


@pytest.mark.parametrize("name", PERMITTED)
def test_what_scaling_does_not_cost_is_let_pass(name: str) -> None:
    assert "charged" not in PERMITTED[name]().rules()


def test_a_fault_at_one_worker_excuses_no_other() -> None:
    assert "charged" in done_by_b(back(hurt("a.1"), "Shutdown")).rules()


def test_workers_that_come_and_go_are_counted() -> None:
    story = held().connect("c").say("c", What.LEAVING).say("us", What.CAME, code="d")
    story.say("a1", What.DECIDES).say("us", What.KILLED, code="a1").say("a2", What.DECIDES)
    found = count_scalings(History(story.complete("a", "r1", 1).events))
    assert (found.came, found.left, found.busy) == (1, 2, 1)
    assert (found.held, found.finished) == (1, 1)
    assert found.longest_s == pytest.approx(0.7)
    assert (found.killed, found.frozen) == (1, 0)
    assert found.takeover_s == pytest.approx([0.1])


def test_an_autoscaler_that_was_frozen_is_counted() -> None:
    story = held().say("a1", What.DECIDES).say("us", What.FROZEN, code="a1")
    found = count_scalings(History(story.say("a2", What.DECIDES).events))
    assert (found.killed, found.frozen) == (0, 1)
    assert found.takeover_s == pytest.approx([0.1])
