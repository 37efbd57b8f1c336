"""The demo's report counts what it saw, and nothing else makes its last line."""

import io
import json

from rich.console import Console

from client_sdk.wire.frame import Frame
from deploy.demo.faq import DEMO_QUESTIONS, Pair, read_faq
from deploy.demo.report import Report

PAIRS = [Pair("What is one?", "A number."), Pair("What is two?", "Another.")]


def _report() -> Report:
    report = Report()
    for number, pair in enumerate(PAIRS):
        report.ask(f"rid-{number}", pair, at=10.0)
    return report


def _result(index: int, number: int, answer: str, *, attempt: int = 1) -> Frame:
    data = json.dumps({"answer": answer, "run_ms": 250, "attempt": attempt}).encode()
    return Frame(index, {"requestId": f"rid-{number}"}, data)


def test_all_answered_once_is_what_the_demo_is_after() -> None:
    report = _report()
    report.read(_result(1, 0, "A number."), at=11.0)
    report.read(_result(2, 1, "Another.", attempt=2), at=12.0)
    assert report.last_line() == "2 of 2 answered, 0 lost, 0 duplicated"
    assert report.wrong() == []
    assert report.redelivered == 1
    first = report.rows()[0][1]
    assert first is not None
    assert (first.wait_s, first.run_s) == (0.75, 0.25)


def test_what_has_no_result_is_lost() -> None:
    report = _report()
    report.read(_result(1, 0, "A number."), at=11.0)
    assert report.last_line() == "1 of 2 answered, 1 lost, 0 duplicated"


def test_a_second_result_is_a_duplicate_and_a_second_push_of_one_is_not() -> None:
    report = _report()
    report.read(_result(1, 0, "A number."), at=11.0)
    report.read(_result(1, 0, "A number."), at=11.5)
    assert report.duplicated == 0
    report.read(_result(2, 0, "A number."), at=12.0)
    assert report.duplicated == 1


def test_a_result_that_nobody_asked_for_is_a_duplicate() -> None:
    report = _report()
    report.read(_result(1, 7, "A number."), at=11.0)
    assert report.last_line() == "0 of 2 answered, 2 lost, 1 duplicated"


def test_another_answer_than_the_faqs_is_wrong_and_so_is_an_error() -> None:
    report = _report()
    report.read(_result(1, 0, "A letter."), at=11.0)
    report.read(Frame(2, {"requestId": "rid-1", "lastCode": "500"}, b"boom"), at=11.0)
    assert report.wrong() == PAIRS


def test_each_question_has_one_line_of_a_narrow_terminal() -> None:
    report = _report()
    report.read(_result(1, 0, "A number. " * 30), at=11.0)
    console = Console(width=72, file=io.StringIO())
    with console.capture() as captured:
        console.print(report.table())
    lines = [line for line in captured.get().splitlines() if line.strip()]
    # Two lines are the head's.
    assert len(lines) == 2 + len(PAIRS)
    assert "…" in lines[2]
    assert lines[0].split() == ["question", "answer", "wait", "run", "attempts"]


def test_no_two_questions_of_the_faq_are_the_same() -> None:
    faq = read_faq()
    assert len({pair.question for pair in faq}) == len(faq) >= 2 * DEMO_QUESTIONS
