"""Scheduled scaling, in the format of PAI EAS's API and of `eascmd cronscale -s FILE`.

    {"ExcludeDates": ["* * * * * 6,0"],
     "ScaleJobs": [{"Name": "rush hour", "Schedule": "0 15,45 * * * *", "TargetSize": 6}]}

Schedules and excluded dates have six fields, the seconds first.  They are times of `TimeZone`, such
as `Europe/Berlin`; UTC without one.  A target holds from its time until the next target.  On an
excluded date no target begins.
"""

import re
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_pascal

from queue_service.settings.autoscaler import MOST_WORKERS, Whole

FIELDS = 6
#: The longest expression, and the most schedules and excluded dates: each decision reads them all.
MOST_CHARACTERS, MOST_SCHEDULES = 200, 100

#: A field with a random value: R or R(1-5), also in a list or with a step.
_RANDOM = re.compile(r"(?:^|[\s,])[Rr](?:[(/,\s]|$)")
#: Where the search for a time begins; the library looks ahead for 50 years.
_ANY_TIME = datetime(2000, 1, 1)


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_pascal,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


def _checked(expression: str) -> str:
    shown = repr(expression[:MOST_CHARACTERS])
    fields = len(expression.split())
    if len(expression) > MOST_CHARACTERS:
        came = f"{len(expression)}: {shown}"
        raise ValueError(f"expected at most {MOST_CHARACTERS} characters, got {came}")
    if fields != FIELDS:
        raise ValueError(
            f"expected six fields, seconds first, such as '0 30 8 * * *', got {fields}: {shown}"
        )
    if _RANDOM.search(expression):
        # The library takes another time whenever it is asked.
        raise ValueError(f"expected fixed times, got R, which is a random one: {shown}")
    try:
        times = croniter(expression, _ANY_TIME, second_at_beginning=True)
    except (CroniterError, ValueError) as error:
        raise ValueError(f"expected a cron expression, got {shown}: {error}") from None
    try:
        times.get_next()
    except CroniterError:
        raise ValueError(f"expected dates that exist, got {shown}, which never comes") from None
    return expression


class ScheduledSize(_Part):
    """From the times of a schedule on, a service should have this many workers."""

    name: Annotated[str, Field(max_length=200)] = ""
    schedule: str
    target_size: Annotated[Whole, Field(ge=0, le=MOST_WORKERS)]

    _schedule_is_valid = field_validator("schedule")(_checked)


class Schedule(_Part):
    """When a service should have how many workers."""

    exclude_dates: Annotated[tuple[str, ...], Field(max_length=MOST_SCHEDULES)] = ()
    sizes: Annotated[
        tuple[ScheduledSize, ...],
        Field(min_length=1, max_length=MOST_SCHEDULES, alias="ScaleJobs"),
    ]
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
                f"expected the name of a time zone such as Europe/Berlin, got {name[:200]!r}"
            ) from None
        return name

    def to_json(self) -> dict[str, Any]:
        """Return the schedule in the format of eascmd."""
        return self.model_dump(mode="json", by_alias=True)
