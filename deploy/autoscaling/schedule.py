"""The target that a schedule asks for at a moment.  Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError
from pydantic import ValidationError

from deploy.autoscaling.settings import first_mistake
from queue_service.settings.cronscaler import Schedule as Schedule  # noqa: PLC0414 (for callers)

#: How far back a target is looked for.  A schedule that is rarer than this has no target between.
LONGEST_AGO = timedelta(days=366)


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
    zone: tzinfo = ZoneInfo(schedule.time_zone)
    local = now.astimezone(zone)
    last: Target | None = None
    for job in schedule.sizes:
        since = _last_time(job.schedule, schedule.exclude_dates, local)
        if since is not None and (last is None or since >= last.since):
            last = Target(job.target_size, since, job.name)
    return last


def _last_time(expression: str, excluded: tuple[str, ...], now: datetime) -> datetime | None:
    # get_prev returns moments before its start: a second later, it may return the start itself.
    start = now + timedelta(seconds=1)
    while True:
        try:
            time: datetime = croniter(expression, start, second_at_beginning=True).get_prev(
                datetime
            )
        except CroniterError:
            return None
        if now - time > LONGEST_AGO:
            return None
        if not any(_is_on(date, time) for date in excluded):
            return time.astimezone(UTC)
        # Nothing of an excluded date counts, however often a day the schedule comes: each look goes
        # back by a day at least.
        start = _midnight(time)


def _is_on(date: str, time: datetime) -> bool:
    """Say whether a time lies on an excluded date: its last three fields name whole days."""
    days = " ".join(["0 0 0", *date.split()[3:]])
    return bool(croniter.match(days, _midnight(time), second_at_beginning=True))


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)
