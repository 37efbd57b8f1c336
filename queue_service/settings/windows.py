"""Time windows: when a service or a token is open, such as `Mon-Fri 22:00-06:00 Europe/Berlin`.

A window is open while the clock on the wall of its zone shows a time in it.  In the night in which
the clock goes forward, `22:00-06:00` is open for seven hours, and for nine when it goes back.  A
time that comes twice is in the window twice; one that never comes begins with the next that does.

Pure arithmetic: nothing here reads a clock.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
DAY_MS = 86_400_000

#: The longest text and the most windows.
MOST_CHARACTERS, MOST_WINDOWS = 2000, 50

#: How far the spans of a day reach: a week of windows repeats, and one more day is in every zone.
HORIZON_DAYS = 9

#: How many days an estimate looks ahead; beyond that it knows nothing.
LONGEST_DAYS = 400

FORM = "windows such as `22:00-06:00 Europe/Berlin` or `Mon-Fri 20:00-24:00; Sat,Sun 00:00-24:00`"
_WINDOW = re.compile(
    r"(?:(?P<days>[A-Za-z][A-Za-z, -]*?)\s+)?"
    r"(?P<start>\d{1,2}:\d{2})\s*-\s*(?P<end>\d{1,2}:\d{2})(?:\s+(?P<zone>\S+))?"
)


@dataclass(frozen=True, slots=True)
class Window:
    """One window: on these days (0 is Monday) from one minute of the day to another.

    end: not above start when the window ends on the next day.
    """

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo

    def holds(self, local: datetime) -> bool:
        """Say whether this time on the wall is in it."""
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        begun_today = day in self.days and minute >= self.start
        return begun_today or ((day - 1) % 7 in self.days and minute < self.end)

    def changes(self, days: Sequence[date]) -> Iterator[float]:
        """Yield the moments, in s since 1970, at which it may open or close on these days."""
        for day in days:
            for minute in (self.start, self.end):
                local = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)
                for fold in (0, 1):
                    yield local.replace(tzinfo=self.zone, fold=fold).timestamp()
            yield from _transitions(self.zone, day)


@dataclass(frozen=True, slots=True)
class Windows:
    """When something is open: in any of its windows, and always without one."""

    windows: tuple[Window, ...] = ()

    def is_open(self, now_ms: int) -> bool:
        """Say whether it is open at this moment."""
        return not self.windows or any(
            begin <= now_ms < end for begin, end in _spans(self.windows, now_ms // DAY_MS)
        )

    def next_change_ms(self, now_ms: int) -> int | None:
        """Return when it next opens or closes; None when it never does."""
        if not self.windows:
            return None
        # A window in an hour that the clock skips is not there for two weeks.
        for day in range(now_ms // DAY_MS, now_ms // DAY_MS + 2 * HORIZON_DAYS, HORIZON_DAYS):
            for edge in (edge for span in _spans(self.windows, day) for edge in span):
                # The spans are cut where the days begin and end, which is no change.
                if edge > now_ms and self.is_open(edge) != self.is_open(edge - 1):
                    return edge
        return None


def opens_after(every: Sequence[Windows], begin_ms: int, open_ms: float) -> float | None:
    """Return when all of these have been open for that long since a moment, and are open then.

    open_ms: how long.  None when that is more than a year away.
    """
    now, left = begin_ms, open_ms
    while now < begin_ms + LONGEST_DAYS * DAY_MS:
        changes = [windows.next_change_ms(now) for windows in every]
        until = min((change for change in changes if change is not None), default=None)
        if all(windows.is_open(now) for windows in every):
            if until is None or now + left < until:
                return now + left
            left -= until - now
        if until is None:
            return None
        now = until
    return None


def read_windows(text: str) -> Windows:
    """Parse windows; raises ValueError with what was expected and what came."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"expected at most {MOST_CHARACTERS} characters, got {len(text)}")
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if len(parts) > MOST_WINDOWS:
        raise ValueError(f"expected at most {MOST_WINDOWS} windows, got {len(parts)}")
    found: list[Window] = []
    zone: ZoneInfo | None = None
    # A zone holds for the windows before it that name none.
    for part in reversed(parts):
        match = _WINDOW.fullmatch(part)
        if match is None:
            raise ValueError(f"expected {FORM}, got {part[:80]!r}")
        zone = _zone(match["zone"]) if match["zone"] else zone or ZoneInfo("UTC")
        start, end = _minute(match["start"]), _minute(match["end"])
        if start in (end, DAY_MINUTES):
            raise ValueError(f"expected a window with a length, got {part[:80]!r}")
        days = _days(match["days"]) if match["days"] else frozenset(range(7))
        found.append(Window(days, start, end, zone))
    return Windows(tuple(reversed(found)))


def _minute(text: str) -> int:
    hour, minute = map(int, text.split(":"))
    if minute > 59 or hour * 60 + minute > DAY_MINUTES:
        raise ValueError(f"expected a time from 00:00 to 24:00, got {text!r}")
    return hour * 60 + minute


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (name.strip().lower() for name in part.partition("-"))
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"expected days such as Mon-Fri or Sat,Sun, got {text[:80]!r}")
        begin = DAYS.index(first)
        count = (DAYS.index(last) - begin) % 7 + 1 if dash else 1
        found.update((begin + step) % 7 for step in range(count))
    return frozenset(found)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        # KeyError is the library's ZoneInfoNotFoundError; a folder of its data is an OSError.
        raise ValueError(
            f"expected a time zone such as Europe/Berlin or UTC, got {name[:80]!r}"
        ) from None


@lru_cache(maxsize=1024)
def _spans(windows: tuple[Window, ...], day: int) -> tuple[tuple[int, int], ...]:
    """Return when any of these is open, in ms since 1970, from a day (UTC) on for the horizon."""
    begin, end = day * DAY_MS, (day + HORIZON_DAYS) * DAY_MS
    first = datetime.fromtimestamp(begin / 1000, UTC).date()
    days = [first + timedelta(days=number) for number in range(-2, HORIZON_DAYS + 2)]
    edges = {round(at * 1000) for window in windows for at in window.changes(days)}
    moments = [begin, *sorted(edge for edge in edges if begin < edge < end), end]
    spans: list[tuple[int, int]] = []
    for here, there in pairwise(moments):
        if any(window.holds(_local(window.zone, here)) for window in windows):
            if spans and spans[-1][1] == here:
                spans[-1] = (spans[-1][0], there)
            else:
                spans.append((here, there))
    return tuple(spans)


def _local(zone: ZoneInfo, at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, zone)


@lru_cache(maxsize=4096)
def _transitions(zone: ZoneInfo, day: date) -> tuple[float, ...]:
    """Return the moment on a day at which the zone's clock is set, if there is one."""
    low = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    high = low + DAY_MS / 1000

    def offset(at: float) -> timedelta | None:
        return datetime.fromtimestamp(at, zone).utcoffset()

    if offset(low) == offset(high):
        return ()
    before = offset(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle) == before else (low, middle)
    return (high,)
