"""A text that grows, is cut within a character, and begins again."""

import base64

import pytest

from client_sdk import JobEvent, TextChanged
from client_sdk.growing_text import GrowingText

ATTEMPT = JobEvent("attempt", {"attempt": 1})


def delta(text: str) -> JobEvent:
    return JobEvent("delta", {"text": text})


def test_a_new_attempt_says_nothing_twice() -> None:
    growing = GrowingText()
    said = [growing.feed(event) for event in (ATTEMPT, delta("one "), delta("two "))]
    assert said == ["", "one ", "two "]
    assert [growing.feed(event) for event in (ATTEMPT, delta("one t"), delta("wo three"))] == [
        "",
        "",
        "three",
    ]
    assert growing.given == "one two three"


def test_a_new_attempt_with_another_text_is_reported_and_can_begin_again() -> None:
    growing = GrowingText()
    for event in (ATTEMPT, delta("one"), ATTEMPT):
        growing.feed(event)
    with pytest.raises(TextChanged):
        growing.feed(delta("two"))
    assert growing.start_over() == "two"
    assert growing.feed(delta(" more")) == " more"


def test_a_piece_may_end_within_a_character() -> None:
    growing = GrowingText()
    first, second = "ü".encode()[:1], "ü".encode()[1:]
    pieces = [
        JobEvent("delta", {"base64": base64.b64encode(piece).decode()}) for piece in (first, second)
    ]
    assert [growing.feed(piece) for piece in (*pieces, delta("x"))] == ["", "ü", "x"]
