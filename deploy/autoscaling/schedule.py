"""Scheduled scaling, in the format of `eascmd cronscale -s FILE`.

    {"ExcludeDates": ["* * * * * 6,0"],
     "ScaleJobs": [{"Name": "rush hour", "Schedule": "0 15,45 * * * *", "TargetSize": 6}]}

Schedules and excluded dates have six fields, the seconds first.  They are times of `TimeZone`
(Penstock's own key, such as `Europe/Berlin`), UTC without one.  A target holds from its time until
the next target.  On an excluded date no target begins.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_pascal

from deploy.autoscaling.settings import MOST_WORKERS, explained

FIELDS = 6
#: How far back a target is looked for.  A schedule that is rarer than this has no target between.
LONGEST_AGO = timedelta(days=366)
#: At most this many times of a schedule are checked: that many in a row may be excluded.
MOST_TIMES = 1000


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_pascal, populate_by_name=True
    )


def _checked(expression: str) -> str:
    fields = len(expression.split())
    if fields != FIELDS:
        raise ValueError(f"expected six fields, seconds first, got {fields}: {expression!r}")
    try:
        croniter(expression, second_at_beginning=True)
    except (CroniterError, ValueError) as error:
        raise ValueError(f"{expression!r} is no cron expression: {error}") from None
    return expression


class ScaleJob(_Part):
    """From the times of a schedule on, a service should have this many workers."""

    name: str = ""
    schedule: str
    target_size: Annotated[int, Field(ge=0, le=MOST_WORKERS)]

    _schedule_is_valid = field_validator("schedule")(_checked)


class Schedule(_Part):
    """When a service should have how many workers."""

    exclude_dates: tuple[str, ...] = ()
    scale_jobs: Annotated[tuple[ScaleJob, ...], Field(min_length=1)]
    time_zone: str = "UTC"

    @field_validator("exclude_dates")
    @classmethod
    def _dates_are_valid(cls, dates: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(date) for date in dates)

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"expected the name of a time zone such as Europe/Berlin, got {name!r}"
            ) from None
        return name

    def to_json(self) -> dict[str, Any]:
        """Return the schedule in the format of eascmd."""
        return self.model_dump(mode="json", by_alias=True)


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
        raise explained(error) from None


def target_at(schedule: Schedule, now: datetime) -> Target | None:
    """Return the target that holds at a moment, which has a time zone; None before the first one.

    Of two that begin at the same moment the later one in the list holds.
    """
    zone: tzinfo = ZoneInfo(schedule.time_zone)
    local = now.astimezone(zone)
    last: Target | None = None
    for job in schedule.scale_jobs:
        since = _last_time(job.schedule, schedule.exclude_dates, local)
        if since is not None and (last is None or since >= last.since):
            last = Target(job.target_size, since, job.name)
    return last


def _last_time(expression: str, excluded: tuple[str, ...], now: datetime) -> datetime | None:
    # get_prev returns moments before its start: a second later, it may return the start itself.
    times = croniter(expression, now + timedelta(seconds=1), second_at_beginning=True)
    for _ in range(MOST_TIMES):
        try:
            time: datetime = times.get_prev(datetime)
        except CroniterError:
            return None
        if now - time > LONGEST_AGO:
            return None
        if not any(_is_on(date, time) for date in excluded):
            return time.astimezone(UTC)
    return None


def _is_on(date: str, time: datetime) -> bool:
    """Say whether a time lies on an excluded date: its last three fields name whole days."""
    days = " ".join(["0 0 0", *date.split()[3:]])
    midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return bool(croniter.match(days, midnight, second_at_beginning=True))
