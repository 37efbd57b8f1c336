"""Two weeks of arrivals: no flapping, bounded waiting, and what it costs beside an oracle.

The oracle pays for exactly the time in which jobs run.
"""

import math
from collections.abc import Callable

import pytest

from deploy.autoscaling.settings import Autoscaler, read_autoscaler
from tests.deploy.autoscaling.simulation import (
    DAY_S,
    STEP_S,
    Arrival,
    Simulated,
    arrivals,
    simulate,
)

DAYS = 14
EAS = read_autoscaler({"min": 0, "max": 40})
#: Penstock's own metric: nobody is to wait for more than two minutes.
WAIT = read_autoscaler(
    {
        "min": 1,
        "max": 40,
        "scaleStrategies": [{"metricName": "queue[wait]", "threshold": 120}],
    }
)


def steady(at_s: float) -> float:
    return 0.05


def day_and_night(at_s: float) -> float:
    return 0.05 * (1 - math.cos(2 * math.pi * at_s / DAY_S)) / 2


def bursts(at_s: float) -> float:
    """Twenty minutes in every four hours."""
    return 0.5 if at_s % (4 * 3600) < 1200 else 0.0


def run(
    rate: Callable[[float], float],
    *,
    run_s: float = 60.0,
    load_s: float = 60.0,
    settings: Autoscaler = EAS,
    is_stuck: Callable[[int], bool] = lambda number: False,
) -> Simulated:
    jobs = arrivals(rate, run_s, days=DAYS, most_per_s=0.5, seed=7)
    result = simulate(jobs, settings, days=DAYS, load_s=load_s, is_stuck=is_stuck)
    assert len(result.waits_s) + result.left_waiting == len(jobs)
    return result


@pytest.mark.parametrize(
    ("settings", "rate", "turns_a_day", "p99_s", "cost"),
    [
        # Ten jobs may wait per worker: ten runs of a minute, and the time to load.
        (EAS, steady, 15, 900, 1.5),
        (EAS, day_and_night, 20, 900, 1.6),
        (EAS, bursts, 15, 950, 1.75),
        (WAIT, steady, 60, 240, 1.75),
        (WAIT, day_and_night, 50, 240, 2.0),
        (WAIT, bursts, 15, 300, 2.25),
    ],
)
def test_waiting_is_bounded_and_the_number_of_workers_is_calm(
    settings: Autoscaler,
    rate: Callable[[float], float],
    turns_a_day: float,
    p99_s: float,
    cost: float,
) -> None:
    result = run(rate, settings=settings)
    assert result.turns / DAYS <= turns_a_day
    assert result.wait_s(0.99) <= p99_s
    assert result.worker_s <= cost * result.busy_s
    assert max(result.wanted) <= settings.max


def test_one_job_an_hour_pays_for_no_more_than_loading_and_the_grace() -> None:
    jobs = [Arrival(3600.0 * hour + 7, 30.0) for hour in range(DAYS * 24)]
    result = simulate(jobs, EAS, days=DAYS, load_s=60.0)
    assert len(result.waits_s) == len(jobs)
    assert max(result.waits_s) <= 60 + 2 * STEP_S
    assert max(result.wanted) == 1
    assert result.worker_s <= len(jobs) * (60 + 30 + 600 + 3 * STEP_S)


def test_a_model_that_loads_for_ten_minutes_stays_while_jobs_come_every_five() -> None:
    jobs = [Arrival(300.0 * number, 30.0) for number in range(DAYS * 288)]
    result = simulate(jobs, EAS, days=DAYS, load_s=600.0)
    assert result.turns <= 1
    assert result.wait_s(0.99) <= STEP_S


def test_workers_that_never_take_a_job_do_not_stop_the_others() -> None:
    result = run(steady, is_stuck=lambda number: number % 4 == 0)
    assert result.wait_s(0.99) <= 1200
    assert max(result.wanted) <= EAS.max


def test_a_service_of_which_all_workers_are_stuck_stays_at_its_maximum() -> None:
    jobs = [Arrival(10.0 * number, 30.0) for number in range(1000)]
    settings = read_autoscaler({"min": 0, "max": 5})
    result = simulate(jobs, settings, days=0.5, load_s=60.0, is_stuck=lambda number: True)
    assert result.left_waiting == 1000
    assert result.wanted[-1] == 5
    assert result.turns == 0
