"""Durations as Go writes them and as careless clients write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire.duration import MAX_TEXT_LENGTH, parse_duration
from client_sdk.wire.errors import WireError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0),
        ("1m", 60.0),
        ("1m0s", 60.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("100ms", 0.1),
        ("250us", 250e-6),
        ("250µs", 250e-6),
        ("7ns", 7e-9),
        ("0s", 0.0),
        (".5s", 0.5),
        ("2h45m", 9900.0),
        ("5", 5.0),
        ("0", 0.0),
        ("1.5", 1.5),
    ],
)
def test_what_clients_in_the_field_send_is_understood(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "s", ".", ".s", "-1s", "-1", "+1s", "1 s", "5S", "1d", "1e3", "inf", "nan", "5s ", "٣s"],
)
def test_what_is_no_duration_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(WireError, match="expected a duration such as 5s"):
        parse_duration(text)


def test_a_long_text_is_refused_without_being_repeated() -> None:
    with pytest.raises(WireError) as caught:
        parse_duration("9" * (MAX_TEXT_LENGTH + 1))
    assert "999" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_finite_seconds_or_a_wire_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except WireError:
        return
    assert math.isfinite(seconds)
    assert seconds >= 0.0
