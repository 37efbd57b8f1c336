"""From the figures, an autoscaler and a schedule to a number of workers."""

from datetime import UTC, datetime
from typing import Any

from deploy.autoscaling.policy import History
from deploy.autoscaling.schedule import read_schedule
from deploy.autoscaling.settings import read_autoscaler
from deploy.autoscaling.wish import Wanted, read_figures, wish

#: A Monday noon, UTC.
NOON_S = 1_795_435_200.0
ANSWER: dict[str, Any] = {
    "waiting": 30,
    "running": 1,
    "workers": {"total": 4, "starting": 9, "ready": 1, "resting": 1, "draining": 2},
    "window_per_worker": None,
    "put_total": 5,
    "wait_s": 3.0,
    "run_s": 1.0,
    "load_s": None,
    "cpu": None,
    "due": [{"count": 2, "within_s": 9.0}],
}
SCALED = read_autoscaler({"min": 0, "max": 5})
NOW = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}


def test_workers_that_leave_do_not_count_and_the_drivers_number_of_new_ones_does() -> None:
    figures = read_figures(ANSWER, starting=3)
    assert (figures.workers, figures.loading, figures.window) == (5, 3, 1)
    assert figures.due[0].count == 2


def test_a_paused_service_asks_for_no_worker() -> None:
    figures = read_figures({**ANSWER, "paused": True}, starting=0)
    assert (figures.waiting, figures.due, figures.wait_s) == (0, (), None)
    assert (figures.paused, figures.deliverable) == (True, 0)


def test_jobs_that_cannot_be_delivered_are_held_back() -> None:
    figures = read_figures({**ANSWER, "deliverable": 4}, starting=0)
    assert (figures.waiting, figures.held_back, figures.deliverable) == (30, 26, 4)
    # An older queue service does not say which ones can be.
    assert read_figures(ANSWER, starting=0).deliverable == 30


def test_the_policy_decides_without_a_schedule() -> None:
    decision, history = wish(
        read_figures(ANSWER, starting=0), Wanted(SCALED), History(), now_s=NOON_S
    )
    assert decision.wanted > 2
    assert history.needed


def test_a_schedule_alone_sets_the_number() -> None:
    schedule = read_schedule(
        {"ScaleJobs": [{"Name": "day", "Schedule": "0 0 8 * * *", "TargetSize": 4}]}
    )
    figures = read_figures(ANSWER, starting=0)
    decision, _ = wish(figures, Wanted(schedule=schedule), History(), now_s=NOON_S)
    assert (decision.wanted, "day" in decision.reason) == (4, True)


def test_the_date_decides_about_a_schedule_and_no_other_clock() -> None:
    schedule = read_schedule({"ScaleJobs": [{"Schedule": "0 0 8 * * *", "TargetSize": 4}]})
    decision, _ = wish(
        read_figures(ANSWER, starting=0),
        Wanted(schedule=schedule),
        History(),
        now_s=NOON_S + 86_400,
        date_s=NOON_S,
    )
    begins = datetime.fromtimestamp(NOON_S, UTC).strftime("%Y-%m-%d 08:00 UTC")
    assert decision.reason == f"scheduled since {begins}"


def test_beside_an_autoscaler_a_schedule_sets_the_least_number() -> None:
    schedule = read_schedule({"ScaleJobs": [{"Schedule": "0 0 8 * * *", "TargetSize": 8}]})
    idle = {**ANSWER, "waiting": 0, "running": 0, "due": []}
    decision, _ = wish(
        read_figures(idle, starting=0), Wanted(SCALED, schedule), History(), now_s=NOON_S
    )
    assert decision.wanted == 8
    assert decision.reason.endswith(
        "raised to the minimum of 8; minimum scheduled since 2026-11-23 08:00 UTC"
    )
