"""The target that a schedule asks for at a moment.  Pure.

A schedule names times on the wall.  One that never comes, in the night in which the clock goes
forward, counts at the moment of the change.  One that comes twice counts the first time.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError
from pydantic import ValidationError

from deploy.autoscaling.settings import first_mistake
from queue_service.settings.cronscaler import Schedule as Schedule  # noqa: PLC0414 (for callers)

#: How far back a target is looked for.  A schedule that is rarer than this has no target between.
LONGEST_AGO = timedelta(days=366)
_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Target:
    """How many workers the schedule asks for, and since when."""

    size: int
    since: datetime
    name: str


def read_schedule(given: object) -> Schedule:
    """Read a schedule from JSON; raise BadAutoscaler for the first field that is wrong."""
    try:
        return Schedule.model_validate(given)
    except ValidationError as error:
        raise first_mistake(error, Schedule, given) from None


def target_at(schedule: Schedule, now: datetime) -> Target | None:
    """Return the target that holds at a moment, which has a time zone; None before the first one.

    Of two that begin at the same moment the later one in the list holds.
    """
    zone = ZoneInfo(schedule.time_zone)
    wall = _shown_until(now.astimezone(zone), zone)
    excluded = _excluded_days(schedule.exclude_dates, wall.date())
    last: Target | None = None
    for job in schedule.sizes:
        on_wall = _last_time(job.schedule, excluded, wall)
        if on_wall is None:
            continue
        since = _moment_of(on_wall, zone)
        if last is None or since >= last.since:
            last = Target(job.target_size, since, job.name)
    return last


def _last_time(expression: str, excluded: frozenset[date], wall: datetime) -> datetime | None:
    # get_prev returns times before its start: a second later, it may return the start itself.
    times = croniter(expression, wall + _SECOND, second_at_beginning=True)
    while True:
        try:
            found: datetime = times.get_prev(datetime)
        except CroniterError:
            return None
        if wall - found > LONGEST_AGO:
            return None
        day = found.date()
        if day not in excluded:
            return found
        # Whole days at once: a schedule may have a time in every second of them.
        while day in excluded:
            day -= _DAY
        times.set_current(datetime.combine(day + _DAY, time()))


@lru_cache(maxsize=64)
def _excluded_days(dates: tuple[str, ...], last: date) -> frozenset[date]:
    """Return the excluded days of the last year.  Kept for a day, because it takes a while."""
    found: set[date] = set()
    for expression in dates:
        # The last three fields name whole days.
        days = " ".join(["0 0 0", *expression.split()[3:]])
        times = croniter(days, datetime.combine(last + _DAY, time()), second_at_beginning=True)
        while len(found) <= LONGEST_AGO.days:
            try:
                day = times.get_prev(datetime).date()
            except CroniterError:
                break
            if last - day > LONGEST_AGO:
                break
            found.add(day)
    return frozenset(found)


def _shown_until(now: datetime, zone: ZoneInfo) -> datetime:
    """Return the latest time that the clock on the wall has shown; without a zone."""
    latest = now
    if now.fold:
        # The clock has gone back: it has shown all times before that.
        back = _offset(now.replace(fold=0)) - _offset(now)
        change = _change_between(now.astimezone(UTC) - back, now.astimezone(UTC), zone)
        latest = (change - _SECOND).astimezone(zone)
    return latest.replace(tzinfo=None, fold=0, microsecond=0)


def _moment_of(on_wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment at which the clock on the wall shows this time or goes beyond it."""
    first = on_wall.replace(tzinfo=zone).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None, fold=0) == on_wall:
        return first
    other = on_wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _change_between(min(first, other), max(first, other), zone)


def _change_between(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Return the first second after a change of the zone's clock, which lies between these."""
    before = _offset(low.astimezone(zone))
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        low, high = (middle, high) if _offset(middle.astimezone(zone)) == before else (low, middle)
    return high.replace(microsecond=0)


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta()
