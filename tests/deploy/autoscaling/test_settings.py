"""The formats of PAI EAS for autoscaling, as its API and its command line have them."""

import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.autoscaling.schedule import read_schedule, target_at
from deploy.autoscaling.settings import read_autoscaler, read_options
from deploy.errors import BadAutoscaler
from queue_service.settings.autoscaler import Metric

WHOLE: dict[str, Any] = {
    "min": 0,
    "max": 10,
    "scaleStrategies": [{"metricName": "queue[avgbacklog]", "threshold": 10, "service": ""}],
    "behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {"stabilizationWindowSeconds": 300},
        "onZero": {"scaleDownGracePeriodSeconds": 600, "scaleUpActivationReplicas": 1},
    },
}


def test_the_body_of_eas_is_read_and_returned() -> None:
    assert read_autoscaler(WHOLE).to_json() == WHOLE


def test_what_is_left_out_has_the_defaults_of_eas() -> None:
    assert read_autoscaler({"min": 0, "max": 10}).to_json() == WHOLE
    part = {"min": 0, "max": 10, "behavior": {"onZero": {"scaleDownGracePeriodSeconds": 60}}}
    behavior = read_autoscaler(part).behavior
    assert behavior.on_zero.scale_up_activation_replicas == 1
    assert behavior.scale_down.stabilization_window_seconds == 300


def test_options_of_the_command_line_are_the_same() -> None:
    options = ["min=0", "max=10", "strategies.queue[avgbacklog]=10"]
    assert read_options(options) == read_autoscaler(WHOLE)
    more = ["strategies.qps=5", "behavior.scaleDown.stabilizationWindowSeconds=60"]
    settings = read_options([*options, *more])
    assert [part.metric for part in settings.scale_strategies] == [
        Metric.AVERAGE_BACKLOG,
        Metric.QPS,
    ]
    assert settings.behavior.scale_down.stabilization_window_seconds == 60


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"min": -1}, "min", "greater than or equal to 0"),
        ({"max": 1001}, "max", "1000"),
        ({"max": 0}, "max", "got 0"),
        ({"min": 11}, "", "expected at most max, which is 10, got 11"),
        ({"min": "many"}, "min", "got 'many'"),
        ({"minimum": 1}, "minimum", "expected one of the names min, max,"),
        ({"scaleStrategies": []}, "scaleStrategies", "at least 1"),
        (
            {"scaleStrategies": [{"metricName": "queue[depth]", "threshold": 1}]},
            "scaleStrategies.0.metricName",
            "queue[avgbacklog]",
        ),
        (
            {"scaleStrategies": [{"metricName": "qps", "threshold": 0}]},
            "scaleStrategies.0.threshold",
            "greater than 0",
        ),
        (
            {"scaleStrategies": [{"metricName": "qps", "threshold": float("nan")}]},
            "scaleStrategies.0.threshold",
            "got nan",
        ),
        ({"scaleStrategies": [{"metricName": "qps", "threshold": 1}] * 2}, "", "qps twice"),
        ({"behavior": {"scaleUp": {}}}, "behavior.scaleUp.", "got nothing"),
        (
            {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 86_401}}},
            "behavior.scaleUp.",
            "86400",
        ),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(BadAutoscaler) as refused:
        read_autoscaler({**WHOLE, **change})
    assert str(refused.value).startswith(field)
    assert says in str(refused.value)


@pytest.mark.parametrize("given", [None, [], "min=0", 3, {}, {"min": 1}])
def test_what_is_no_autoscaler_is_refused(given: object) -> None:
    with pytest.raises(BadAutoscaler):
        read_autoscaler(given)


@pytest.mark.parametrize("option", ["min", "=3", "strategies.qps", "min.x=1", "strategies.=3", ""])
def test_wrong_options_are_refused(option: str) -> None:
    with pytest.raises(BadAutoscaler):
        read_options(["min=0", "max=3", option])


WEEKDAYS = {
    "ExcludeDates": ["* * * * * 6,0"],
    "ScaleJobs": [
        {"Name": "rush hour", "Schedule": "0 0 8 * * *", "TargetSize": 6},
        {"Schedule": "0 30 18 * * *", "TargetSize": 1},
    ],
}


@pytest.mark.parametrize(
    ("now", "size"),
    [
        ("2026-11-26 07:59:59", 1),
        ("2026-11-26 08:00:00", 6),
        ("2026-11-26 18:29:59", 6),
        ("2026-11-26 18:30:00", 1),
        # The 28th is a Saturday: Friday's last target holds until Monday.
        ("2026-11-28 12:00:00", 1),
        ("2026-11-29 23:59:59", 1),
        ("2026-11-30 08:00:00", 6),
    ],
)
def test_a_target_holds_until_the_next_one_and_none_begins_on_excluded_dates(
    now: str, size: int
) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    target = target_at(read_schedule(WEEKDAYS), moment)
    assert target is not None
    assert target.size == size


def test_seconds_come_first() -> None:
    schedule = read_schedule({"ScaleJobs": [{"Schedule": "0 15,45 * * * *", "TargetSize": 6}]})
    target = target_at(schedule, datetime(2026, 11, 26, 10, 50, tzinfo=UTC))
    assert target is not None
    assert target.since == datetime(2026, 11, 26, 10, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "since"),
    [
        ("0 0 8 * * *", "2026-11-26 08:00:00"),
        ("30 0 8 * * *", "2026-11-26 08:00:30"),
        ("*/20 * * * * *", "2026-11-26 08:00:40"),
        ("0 0 8 ? * *", "2026-11-26 08:00:00"),
        ("0 0 8 * * MON-WED", "2026-11-25 08:00:00"),
        # Sunday is 0 and 7.
        ("0 0 8 * * 0", "2026-11-22 08:00:00"),
        ("0 0 8 * * 7", "2026-11-22 08:00:00"),
        ("0 0 8 1 * *", "2026-11-01 08:00:00"),
        ("0 0 0 1 1 *", "2026-01-01 00:00:00"),
        # The days of both fields count, as in every cron.
        ("0 0 8 1 * 1", "2026-11-23 08:00:00"),
        # It was longer ago than a year.
        ("0 0 0 29 2 *", None),
    ],
)
def test_a_schedule_has_six_fields_of_cron(schedule: str, since: str | None) -> None:
    read = read_schedule({"ScaleJobs": [{"Schedule": schedule, "TargetSize": 6}]})
    target = target_at(read, datetime(2026, 11, 26, 8, 0, 45, tzinfo=UTC))
    wanted = since and datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert (target and target.since) == wanted


@pytest.mark.parametrize(
    ("excluded", "since"),
    [
        (["* * * * * 6,0"], "2026-11-27"),
        # An excluded date is a whole day, whatever its first three fields say.
        (["0 0 0 * * SAT"], "2026-11-27"),
        (["* * 9-17 28 11 *"], "2026-11-27"),
        (["* * * 26-28 11 ?"], "2026-11-25"),
        (["* * * 28 11 *", "* * * 27 11 *"], "2026-11-26"),
        (["* * * 25 12 *"], "2026-11-28"),
        (["* * * * 11 *"], "2026-10-31"),
        (["* * * * * *"], None),
    ],
)
# Also with more times on one day than days in a year.
@pytest.mark.parametrize("schedule", ["0 0 8 * * *", "* * 8 * * *"])
def test_on_an_excluded_date_no_target_begins(
    schedule: str, excluded: list[str], since: str | None
) -> None:
    job = {"Schedule": schedule, "TargetSize": 6}
    read = read_schedule({"ScaleJobs": [job], "ExcludeDates": excluded})
    target = target_at(read, datetime(2026, 11, 28, 12, tzinfo=UTC))
    assert (target and str(target.since.date())) == since


def test_of_targets_that_begin_together_the_last_in_the_list_holds_also_zero() -> None:
    jobs = [{"Schedule": "0 0 8 * * *", "TargetSize": size} for size in (6, 0)]
    target = target_at(read_schedule({"ScaleJobs": jobs}), datetime(2026, 11, 26, 9, tzinfo=UTC))
    assert target is not None
    assert target.size == 0


def test_times_are_those_of_the_time_zone_also_when_clocks_change() -> None:
    schedule = read_schedule({**WEEKDAYS, "ExcludeDates": [], "TimeZone": "Europe/Berlin"})
    for day, hour in ((24, 6), (25, 7)):
        before = datetime(2026, 10, day, hour - 1, 59, 59, tzinfo=UTC)
        after = datetime(2026, 10, day, hour, 0, 0, tzinfo=UTC)
        sizes = [found.size for now in (before, after) if (found := target_at(schedule, now))]
        assert sizes == [1, 6]


@pytest.mark.parametrize("schedule", ["0 * * * * *", "* * * * * *", "0 0 * * * *"])
def test_the_target_before_a_weekend_holds_whatever_it_has_left_out(schedule: str) -> None:
    often = {
        "ScaleJobs": [{"Schedule": schedule, "TargetSize": 3}],
        "ExcludeDates": ["* * * * * 6,0"],
    }
    target = target_at(read_schedule(often), datetime(2026, 11, 29, 20, tzinfo=UTC))
    assert target is not None
    assert (target.size, target.since.day, target.since.hour) == (3, 27, 23)


def test_a_large_schedule_costs_little() -> None:
    large = read_schedule(
        {
            "ScaleJobs": [{"Schedule": "* * * * * *", "TargetSize": 1}] * 100,
            "ExcludeDates": [f"{second} * * * * *" for second in range(60)] + ["0 0 0 1 1 *"] * 40,
        }
    )
    calls: list[object] = []
    profile = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: calls.append(event == "call"))
    try:
        assert target_at(large, datetime(2026, 11, 29, 20, tzinfo=UTC)) is None
    finally:
        sys.setprofile(profile)
    # Every second of a year would be 31 million times for each of the hundred.
    assert sum(map(bool, calls)) < 200_000


BERLIN = [("0 30 2 * * *", 1), ("0 45 2 * * *", 2), ("0 0 8 * * *", 3)]


@pytest.mark.parametrize(
    ("moment", "size", "since"),
    [
        # The clock goes from 02:00 to 03:00 at 01:00 UTC: both times count then.
        ("2026-03-29T00:59:59", 3, "2026-03-28T07:00:00"),
        ("2026-03-29T01:00:00", 2, "2026-03-29T01:00:00"),
        # The clock goes from 03:00 to 02:00 at 01:00 UTC: no target begins for the second time.
        ("2026-10-25T00:29:59", 3, "2026-10-24T06:00:00"),
        ("2026-10-25T00:30:00", 1, "2026-10-25T00:30:00"),
        ("2026-10-25T00:59:59", 2, "2026-10-25T00:45:00"),
        ("2026-10-25T01:00:00", 2, "2026-10-25T00:45:00"),
        ("2026-10-25T01:35:00.5", 2, "2026-10-25T00:45:00"),
        ("2026-10-25T02:00:00", 2, "2026-10-25T00:45:00"),
        ("2026-10-25T07:00:00", 3, "2026-10-25T07:00:00"),
    ],
)
def test_a_target_begins_once_in_the_nights_in_which_clocks_change(
    moment: str, size: int, since: str
) -> None:
    jobs = [{"Schedule": schedule, "TargetSize": count} for schedule, count in BERLIN]
    schedule = read_schedule({"ScaleJobs": jobs, "TimeZone": "Europe/Berlin"})
    target = target_at(schedule, datetime.fromisoformat(f"{moment}+00:00"))
    assert target is not None
    assert (target.size, target.since.isoformat()) == (size, f"{since}+00:00")


def test_there_is_no_target_before_the_first_one() -> None:
    always_off = {**WEEKDAYS, "ExcludeDates": ["* * * * * *"]}
    assert target_at(read_schedule(always_off), datetime(2026, 11, 26, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ScaleJobs": []}, "ScaleJobs"),
        (
            {"ScaleJobs": [{"Schedule": "0 8 * * *", "TargetSize": 1}]},
            "ScaleJobs.0.Schedule: expected six fields, seconds first, such as '0 30 8 * * *', "
            "got 5: '0 8 * * *'",
        ),
        (
            {"ScaleJobs": [{"Schedule": "0 99 8 * * *", "TargetSize": 1}]},
            "expected a cron expression",
        ),
        ({"ScaleJobs": [{"Schedule": "0 0 8 * * *", "TargetSize": -1}]}, "TargetSize"),
        ({"ScaleJobs": [{"Schedule": "0 0 8 * * *", "TargetSize": True}]}, "a number, got True"),
        ({"ScaleJobs": [{"Schedule": "0 0 0 30 2 *", "TargetSize": 1}]}, "never comes"),
        ({"ScaleJobs": [{"Schedule": "0 0 0 31 4,6 *", "TargetSize": 1}]}, "never comes"),
        ({"ScaleJobs": [{"Schedule": "R 0 8 * * *", "TargetSize": 1}]}, "a random one"),
        ({"ScaleJobs": [{"Schedule": "0 0 r(1-5) * * *", "TargetSize": 1}]}, "a random one"),
        ({"ScaleJobs": [{"Schedule": "0 1,R 8 * * *", "TargetSize": 1}]}, "a random one"),
        ({"ScaleJobs": [{"Schedule": "0 R/5 8 * * *", "TargetSize": 1}]}, "a random one"),
        (
            {"ScaleJobs": [{"Schedule": f"0 {'1,' * 99}1 8 * * *", "TargetSize": 1}]},
            "at most 200 characters",
        ),
        ({"ExcludeDates": ["Sunday"]}, "six fields"),
        ({"ExcludeDates": ["* * * 31 2 *"]}, "never comes"),
        ({"TimeZone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"TimeZone": "../../etc/passwd"}, "time zone"),
        ({"Cron": 1}, "Cron: expected one of the names"),
    ],
)
def test_a_wrong_schedule_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadAutoscaler) as refused:
        read_schedule({**WEEKDAYS, **change})
    assert says in str(refused.value)
