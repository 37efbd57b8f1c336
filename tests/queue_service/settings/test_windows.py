"""Time windows, and both days on which the clock is set."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from queue_service.settings.windows import Windows, opens_after, read_windows

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = "22:00-06:00 Europe/Berlin"
HOUR_MS = 3_600_000


def _ms(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000)


def _utc(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "moment", "is_open", "next_change"),
    [
        (NIGHT, "2026-11-25T21:59:59.999", False, "2026-11-25T22:00"),
        (NIGHT, "2026-11-25T22:00", True, "2026-11-26T06:00"),
        (NIGHT, "2026-11-26T05:59:59.999", True, "2026-11-26T06:00"),
        (NIGHT, "2026-11-26T06:00", False, "2026-11-26T22:00"),
        ("Mon-Fri 22:00-06:00 Europe/Berlin", "2026-11-28T05:00", True, "2026-11-28T06:00"),
        ("Mon-Fri 22:00-06:00 Europe/Berlin", "2026-11-28T22:00", False, "2026-11-30T22:00"),
        ("Mon-Fri 22:00-06:00 Europe/Berlin", "2026-11-30T05:00", False, "2026-11-30T22:00"),
        ("Sat,Sun 00:00-24:00 Europe/Berlin", "2026-11-28T12:00", True, "2026-11-30T00:00"),
        ("Fri-Mon 08:00-09:00 Europe/Berlin", "2026-11-24T08:30", False, "2026-11-27T08:00"),
        ("20:00-24:00; 00:00-04:00 Europe/Berlin", "2026-11-24T21:00", True, "2026-11-25T04:00"),
        ("08:00-10:00; 09:00-12:00 Europe/Berlin", "2026-11-24T09:30", True, "2026-11-24T12:00"),
        ("wed 08:00-09:00 Europe/Berlin", "2026-11-25T09:00", False, "2026-12-02T08:00"),
    ],
)
def test_a_window_opens_and_closes_in_its_zone(
    text: str, moment: str, is_open: bool, next_change: str
) -> None:
    windows = read_windows(text)
    assert windows.is_open(_ms(moment)) is is_open
    assert windows.next_change_ms(_ms(moment)) == _ms(next_change)


@pytest.mark.parametrize(
    ("text", "evening", "opens", "closes"),
    [
        # The clock goes forward at 02:00, 29 March 2026, and back at 03:00, 25 October 2026.
        (NIGHT, "2026-03-28T18:00", "2026-03-28T21:00", "2026-03-29T04:00"),
        (NIGHT, "2026-10-24T18:00", "2026-10-24T20:00", "2026-10-25T05:00"),
        (
            "Mon-Sun 22:00-06:00 America/New_York",
            "2026-03-08T00:00",
            "2026-03-08T03:00",
            "2026-03-08T10:00",
        ),
        # 02:30 does not come in March: the window begins when the clock shows 03:00.
        ("02:30-05:00 Europe/Berlin", "2026-03-28T18:00", "2026-03-29T01:00", "2026-03-29T03:00"),
        # It ends at a time that does not come: when the clock leaves 02:00.
        ("00:00-02:30 Europe/Berlin", "2026-03-28T18:00", "2026-03-28T23:00", "2026-03-29T01:00"),
        # The whole window does not come, until the next day.
        ("02:00-03:00 Europe/Berlin", "2026-03-28T18:00", "2026-03-30T00:00", "2026-03-30T01:00"),
        # 02:30 comes twice in October, and so does the window.
        ("02:30-03:00 Europe/Berlin", "2026-10-24T18:00", "2026-10-25T00:30", "2026-10-25T01:00"),
        ("02:30-03:00 Europe/Berlin", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00"),
        ("02:00-03:00 Europe/Berlin", "2026-10-24T18:00", "2026-10-25T00:00", "2026-10-25T02:00"),
    ],
)
def test_it_is_right_when_the_clock_is_set(
    text: str, evening: str, opens: str, closes: str
) -> None:
    windows, now = read_windows(text), _utc(evening)
    assert not windows.is_open(now)
    opening = windows.next_change_ms(now)
    assert opening == _utc(opens)
    assert windows.is_open(opening)
    assert not windows.is_open(opening - 1)
    assert windows.next_change_ms(opening) == _utc(closes)


@pytest.mark.parametrize(
    "text",
    [
        NIGHT,
        "Mon-Fri 09:00-17:00 America/New_York",
        "02:15-02:45 Europe/Berlin",
        "23:59-00:01 Asia/Kathmandu",
    ],
)
def test_for_a_year_it_is_open_exactly_when_the_clock_on_the_wall_says_so(text: str) -> None:
    windows = read_windows(text)
    (window,) = windows.windows
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(365 * 24 * 4):
        moment = round(at.timestamp() * 1000)
        assert windows.is_open(moment) == window.holds(at.astimezone(window.zone)), at
        at += timedelta(minutes=15)


def test_without_windows_it_is_always_open() -> None:
    for windows in (Windows(), read_windows(""), read_windows(" ; "), read_windows("00:00-24:00")):
        assert windows.is_open(0)
        assert windows.next_change_ms(_ms("2026-11-25T12:00")) is None
        assert opens_after([windows], 1000, 500) == 1500


def test_a_start_is_counted_in_open_time() -> None:
    night, weekend = read_windows(NIGHT), read_windows("Sat-Sun 00:00-24:00 Europe/Berlin")
    begin = _ms("2026-11-25T20:00")
    assert opens_after([night], begin, 0) == _ms("2026-11-25T22:00")
    assert opens_after([night], begin, 3 * HOUR_MS) == _ms("2026-11-26T01:00")
    # What does not fit waits for the next evening.
    assert opens_after([night], begin, 9 * HOUR_MS) == _ms("2026-11-26T23:00")
    assert opens_after([night, weekend], begin, 0) == _ms("2026-11-28T00:00")
    assert opens_after([night, read_windows("08:00-09:00 Europe/Berlin")], begin, 0) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("night", "expected windows such as"),
        ("22:00", "expected windows such as"),
        ("22:00-06:00 Europe/Nowhere", "expected a time zone"),
        ("22:00-06:00 Europe", "expected a time zone"),
        ("22:00-06:00 ../../etc/passwd", "expected a time zone"),
        ("25:00-06:00", "expected a time from 00:00 to 24:00"),
        ("22:60-23:00", "expected a time from 00:00 to 24:00"),
        ("24:00-06:00", "expected a window with a length"),
        ("22:00-22:00", "expected a window with a length"),
        ("Mo-Fr 22:00-23:00", "expected days"),
        (";".join(["22:00-23:00"] * 51), "at most 50 windows"),
        ("x" * 2001, "at most 2000 characters"),
    ],
)
def test_what_is_no_window_is_refused_with_what_was_expected(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_windows(text)
