"""Which deliveries start when, and when consecutive failures mean that the engine is sick."""

from collections.abc import Iterable

from client_sdk.wire.worker import Delivery
from inference_worker.consecutive_failures import PROOF_S, ConsecutiveFailures
from inference_worker.engines.engine import Failed, Finished
from inference_worker.start_queue import StartQueue


def test_everybody_begins_at_once() -> None:
    queue: StartQueue[str] = StartQueue()
    for name in "abc":
        queue.add(name, alone=False)
    assert queue.start_next() == ["a", "b", "c"]
    assert (queue.started, queue.is_exclusive) == (3, False)


def test_a_suspect_waits_until_it_is_alone_and_others_wait_behind_it() -> None:
    queue: StartQueue[str] = StartQueue()
    for name in ("a", "suspect", "b", "c"):
        queue.add(name, alone=name == "suspect")
    assert queue.start_next() == ["a"]
    assert (queue.is_exclusive, queue.waiting) == (True, 3)
    queue.remove("a")
    assert queue.start_next() == ["suspect"]
    assert queue.start_next() == []
    queue.remove("suspect")
    assert queue.start_next() == ["b", "c"]
    assert not queue.is_exclusive


def test_one_that_waits_can_leave() -> None:
    queue: StartQueue[str] = StartQueue()
    queue.add("a", alone=False)
    assert queue.start_next() == ["a"]
    queue.add("suspect", alone=True)
    queue.remove("suspect")
    assert (queue.is_exclusive, queue.started) == (False, 1)


FAILED = Failed("OSError", "gone")
DONE = Finished(b"")
RED, BLUE = b"red", b"blue"


class Row:
    """Consecutive failures, and ends that are recorded one after the other."""

    def __init__(self, limit: int) -> None:
        self.failures = ConsecutiveFailures(limit)
        self.now_s = 0.0

    def note(
        self,
        index: int,
        end: Finished | Failed = FAILED,
        *,
        process: int = 0,
        owner: bytes = b"",
        rivals: bool = False,
        running: Iterable[bytes] = (),
    ) -> bool:
        delivery = Delivery(index, 1, "r", b"", owner_mark=owner, has_rivals=rivals)
        return self.failures.record(
            delivery, end, process_number=process, now_s=self.now_s, running=running
        )


def test_different_jobs_that_fail_in_a_row_are_a_sickness() -> None:
    row = Row(3)
    assert [row.note(index) for index in (1, 2, 2, 3)] == [False, False, False, True]


def test_a_success_ends_the_row() -> None:
    row = Row(2)
    assert not any((row.note(1), row.note(2, DONE), row.note(3)))


def test_the_death_of_one_engine_is_one_failure() -> None:
    row = Row(2)
    died = Failed("EngineDied", "killed")
    assert not any(row.note(index, died, process=1) for index in range(5))
    assert row.note(6, died, process=2)


def test_bad_inputs_and_returned_jobs_say_nothing_about_an_engine() -> None:
    row = Row(1)
    assert not row.note(1, Failed("BadInput", "", retryable=False))
    assert not row.note(2, Failed("Shutdown", ""))


def test_a_limit_of_0_is_never_reached() -> None:
    row = Row(0)
    assert not any(row.note(index) for index in range(100))


def test_a_status_by_which_a_server_refuses_its_input_says_nothing_about_the_worker() -> None:
    row = Row(1)
    for index, code in enumerate(("400", "404", "422")):
        assert not row.note(index, Failed(code, "refused"))
    assert Row(1).note(7, Failed("429", "too many"))
    assert Row(1).note(7, Failed("503", "busy"))
    assert not Row(1).note(7, Failed("503", "the server is busy", is_busy=True))


def test_failures_of_one_owner_say_nothing_while_others_have_jobs() -> None:
    row = Row(3)
    assert not any(row.note(index, owner=RED, rivals=True) for index in range(100))
    # Another one's failure makes it a sickness, and so does the end of the others' jobs.
    assert row.note(100, owner=BLUE, rivals=True)
    row = Row(3)
    assert not any(row.note(index, owner=RED, rivals=True) for index in range(100))
    assert row.note(100, owner=RED)


def test_an_engine_that_worked_for_another_owner_a_while_ago_is_well() -> None:
    row = Row(3)
    row.note(1, DONE, owner=BLUE)
    row.note(2, DONE, owner=RED)
    assert not any(row.note(index, owner=RED) for index in range(3, 9))
    row.now_s = PROOF_S
    assert row.note(9, owner=RED)
    # Another engine has to prove itself again.
    row.note(10, DONE, owner=BLUE)
    row.failures.reset()
    assert [row.note(index, owner=RED) for index in (11, 12, 13)] == [False, False, True]


def test_jobs_of_one_owner_say_nothing_while_another_ones_run() -> None:
    row = Row(2)
    assert not any(row.note(index, owner=RED, running=[BLUE]) for index in range(9))
    # Nobody's work is lost any more; or the other one's has failed too.
    assert row.note(9, owner=RED, running=[RED])
    assert row.note(10, owner=BLUE, running=[RED, BLUE])
    row.failures.reset()
    assert not row.note(11, owner=RED, running=[RED])
