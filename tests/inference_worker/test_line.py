"""Who begins when, and when failures in a row say that the engine is sick."""

from inference_worker.engines.engine import Failed, Finished
from inference_worker.line import Line
from inference_worker.streak import Streak


def test_everybody_begins_at_once() -> None:
    line: Line[str] = Line()
    for name in "abc":
        line.join(name, alone=False)
    assert line.enter() == ["a", "b", "c"]
    assert (line.inside, line.is_shut) == (3, False)


def test_a_suspect_waits_until_it_is_alone_and_others_wait_behind_it() -> None:
    line: Line[str] = Line()
    for name in ("a", "suspect", "b", "c"):
        line.join(name, alone=name == "suspect")
    assert line.enter() == ["a"]
    assert (line.is_shut, line.waiting) == (True, 3)
    line.leave("a")
    assert line.enter() == ["suspect"]
    assert line.enter() == []
    line.leave("suspect")
    assert line.enter() == ["b", "c"]
    assert not line.is_shut


def test_one_that_waits_can_leave() -> None:
    line: Line[str] = Line()
    line.join("a", alone=False)
    assert line.enter() == ["a"]
    line.join("suspect", alone=True)
    line.leave("suspect")
    assert (line.is_shut, line.inside) == (False, 1)


FAILED = Failed("OSError", "gone")


def test_different_jobs_that_fail_in_a_row_are_a_sickness() -> None:
    streak = Streak(3)
    assert [streak.note(n, FAILED, life=0) for n in (1, 2, 2, 3)] == [False, False, False, True]


def test_jobs_of_one_owner_say_nothing_while_another_ones_run() -> None:
    streak = Streak(2)
    assert not any(streak.note(n, FAILED, life=0, owner="a", running=["b"]) for n in range(9))
    # Nobody's work is lost any more; or the other one's has failed too.
    assert streak.note(9, FAILED, life=0, owner="a", running=["a"])
    assert streak.note(10, FAILED, life=0, owner="b", running=["a", "b"])
    streak.forget()
    assert not streak.note(11, FAILED, life=0, owner="a", running=["a"])


def test_a_success_ends_the_row() -> None:
    streak = Streak(2)
    ends: list[tuple[int, Finished | Failed]] = [(1, FAILED), (2, Finished(b"")), (3, FAILED)]
    assert not any(streak.note(index, end, life=0) for index, end in ends)


def test_the_death_of_one_engine_is_one_failure() -> None:
    streak = Streak(2)
    died = Failed("EngineDied", "killed")
    assert not any(streak.note(index, died, life=1) for index in range(5))
    assert streak.note(6, died, life=2)


def test_bad_inputs_and_returned_jobs_say_nothing_about_an_engine() -> None:
    streak = Streak(1)
    assert not streak.note(1, Failed("BadInput", "", retryable=False), life=0)
    assert not streak.note(2, Failed("Shutdown", ""), life=0)


def test_a_limit_of_0_is_never_reached() -> None:
    streak = Streak(0)
    assert not any(streak.note(index, FAILED, life=0) for index in range(100))


def test_a_status_by_which_a_server_refuses_its_input_says_nothing_about_the_worker() -> None:
    streak = Streak(1)
    for index, code in enumerate(("400", "404", "422")):
        assert not streak.note(index, Failed(code, "refused"), life=1)
    assert Streak(1).note(7, Failed("429", "too many"), life=1)
    assert Streak(1).note(7, Failed("503", "busy"), life=1)
