"""Who generates and who waits, decided without any model."""

from inference_worker.engines.engine import Failed
from inference_worker.engines.transformers.scheduler import Limits, Scheduler
from inference_worker.engines.transformers.sequence import (
    FinishReason,
    Pick,
    Sampling,
    Sequence,
    Status,
)


def sequence(prompt: int = 4, new: int = 4, **sampling: object) -> Sequence:
    def decode(ids: list[int]) -> str:
        return bytes(ids).decode(errors="replace")

    wanted = Sampling(new, **sampling)  # type: ignore[arg-type]
    return Sequence(tuple(range(prompt)), wanted, decode)


def say(answer: Sequence, text: str) -> str:
    return "".join(answer.add(Pick(byte)) for byte in text.encode())


def test_the_first_waiting_join_until_the_number_is_reached() -> None:
    scheduler = Scheduler(Limits(sequences=2, tokens=1000))
    a, b, c = sequence(), sequence(), sequence()
    scheduler.add([a, b, c])
    assert scheduler.schedule().joins == [a, b]
    assert scheduler.schedule().joins == []
    assert (len(scheduler.running), scheduler.waiting) == (2, 1)


def test_one_that_finished_leaves_and_the_next_joins_in_the_same_step() -> None:
    scheduler = Scheduler(Limits(sequences=1, tokens=1000))
    a, b = sequence(new=1), sequence()
    scheduler.add([a, b])
    scheduler.schedule()
    a.add(Pick(65))
    step = scheduler.schedule()
    assert (step.leaves, step.rows, step.joins) == ([a], [], [b])


def test_the_token_budget_counts_the_padding_of_a_rectangle() -> None:
    scheduler = Scheduler(Limits(sequences=9, tokens=100))
    wide, small, third = sequence(40, 10), sequence(2, 2), sequence(2, 2)
    scheduler.add([wide, small, third])
    assert scheduler.schedule().joins == [wide, small]
    assert scheduler.reserved_tokens == 100


def test_the_token_budget_counts_no_padding_where_there_is_none() -> None:
    scheduler = Scheduler(Limits(sequences=9, tokens=58, padded=False))
    scheduler.add([sequence(40, 10), sequence(2, 2), sequence(2, 2), sequence(2, 2)])
    assert len(scheduler.schedule().joins) == 3


def test_no_sequence_overtakes_the_first_waiting() -> None:
    scheduler = Scheduler(Limits(sequences=9, tokens=100))
    first, large, small = sequence(30, 30), sequence(50, 30), sequence(2, 2)
    scheduler.add([first, large, small])
    assert scheduler.schedule().joins == [first]
    first.cancel()
    assert scheduler.schedule().joins == [large]


def test_one_step_limits_its_prompt_tokens() -> None:
    scheduler = Scheduler(Limits(sequences=9, tokens=9999, prefill_tokens=10))
    huge, a, b, c = sequence(50), sequence(5), sequence(5), sequence(5)
    scheduler.add([huge, a, b, c])
    assert scheduler.schedule().joins == [huge]
    assert scheduler.schedule().joins == [a, b]
    assert scheduler.schedule().joins == [c]


def test_a_cancelled_one_never_joins_and_a_running_one_leaves_at_the_next_step() -> None:
    scheduler = Scheduler(Limits(sequences=1, tokens=1000))
    a, b, c = sequence(), sequence(), sequence()
    scheduler.add([a, b, c])
    scheduler.schedule()
    a.cancel()
    b.cancel()
    step = scheduler.schedule()
    assert (step.leaves, step.joins) == ([a], [c])
    assert a.finish_reason is b.finish_reason is FinishReason.CANCELLED


def test_when_all_is_dropped_nothing_is_left() -> None:
    scheduler = Scheduler(Limits(sequences=1, tokens=1000))
    a, b = sequence(), sequence()
    scheduler.add([a, b])
    scheduler.schedule()
    assert scheduler.drop_all() == [a, b]
    assert scheduler.is_idle


def test_an_answer_ends_at_its_length() -> None:
    answer = sequence(new=3)
    assert say(answer, "abc") == "abc"
    assert (answer.status, answer.finish_reason) == (Status.FINISHED, FinishReason.LENGTH)


def test_a_stop_token_ends_the_answer_and_is_counted_but_not_shown() -> None:
    answer = sequence(new=9, stop_ids=frozenset({0}))
    assert say(answer, "ab") + answer.add(Pick(0)) == "ab"
    assert (answer.text, answer.tokens) == ("ab", [97, 98, 0])
    assert answer.finish_reason is FinishReason.STOP


def test_a_stop_string_ends_the_answer() -> None:
    answer = sequence(new=99, stop=("xyz",))
    say(answer, "abxyz")
    assert (answer.text, answer.finish_reason) == ("ab", FinishReason.STOP)


def test_what_was_held_back_for_a_stop_string_is_shown_at_the_end() -> None:
    answer = sequence(new=4, stop=("xyz",))
    assert say(answer, "abxy") == answer.text == "abxy"


def test_a_failed_answer_takes_no_more() -> None:
    answer = sequence()
    answer.fail(Failed("Code", "why"))
    assert answer.is_finished
    assert answer.finish_reason is None
