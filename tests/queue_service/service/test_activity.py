"""The pace of a service, from the sums of minutes and the latest runs."""

import pytest

from queue_service.service.activity import pace_of
from queue_service.store.activity import Activity, LatestRun, Minute

NOW_MS = 1_000_000 * 60_000 + 30_000


def activity(*minutes: Minute, latest: tuple[LatestRun, ...] = ()) -> Activity:
    empty = (Minute(),) * (60 - len(minutes))
    return Activity(NOW_MS, (*empty, *minutes), latest)


def test_the_rate_counts_the_part_of_the_minute_that_has_passed() -> None:
    pace = pace_of(activity(Minute(9), Minute(9), Minute(9), Minute(9), Minute(4, failed=1)), 60)
    # 40 runs in four and a half minutes.
    assert pace.per_minute == pytest.approx(40 / 4.5)
    assert (pace.runs, pace.failed) == (40, 1)
    assert len(pace.minutes) == 60


def test_waits_are_those_of_the_last_minutes() -> None:
    latest = tuple(
        LatestRun(NOW_MS - age_s * 1000, wait_ms, 10, failed=False)
        for age_s, wait_ms in ((1, 4000), (2, 1000), (3, 2000), (3600, 900_000))
    )
    pace = pace_of(activity(latest=latest), 60)
    assert (pace.wait_p50_s, pace.wait_p95_s) == (2.0, 4.0)


def test_nothing_is_known_of_a_service_without_runs() -> None:
    pace = pace_of(activity(), 60)
    assert (pace.per_minute, pace.runs, pace.failed) == (0, 0, 0)
    assert pace.wait_p50_s is pace.run_p95_s is None
