"""The estimate, held against simulations of a line."""

import heapq
import random
from collections import deque
from collections.abc import Callable

import pytest

from queue_service.service.estimate import RunTimes, estimate, quantile


def simulate(run_s: Callable[[], float], *, places: int, load: float, jobs: int) -> list[float]:
    """Serve a steady stream of jobs in order; give estimate / truth of each one's wait.

    load: arrivals for each run that the places could take; what they cannot take lines up.
    """
    now, free_at = 0.0, [0.0] * places
    history: deque[float] = deque(maxlen=512)
    begun: list[float] = []
    ended: list[tuple[float, float]] = []
    ratios: list[float] = []
    mean_s = sum(run_s() for _ in range(1000)) / 1000
    for _ in range(jobs):
        now += random.expovariate(load * places / mean_s)
        while ended and ended[0][0] <= now:
            history.appendleft(heapq.heappop(ended)[1])
        ahead = sum(start > now for start in begun)
        busy = sum(free > now for free in free_at)
        guess = estimate(RunTimes.of(history), ahead=ahead, busy=busy, free=places - busy)
        start = max(now, heapq.heappop(free_at))
        run = run_s()
        heapq.heappush(free_at, start + run)
        heapq.heappush(ended, (start + run, run))
        begun.append(start)
        if guess is not None and start > now:
            ratios.append(guess.start_p50_s / (start - now))
    return ratios


@pytest.mark.parametrize("places", [1, 2, 8])
@pytest.mark.parametrize(
    "run_s",
    [lambda: 1.0, lambda: random.uniform(0.5, 1.5), lambda: random.expovariate(1.0)],
    ids=["alike", "uniform", "exponential"],
)
def test_under_a_steady_load_half_of_the_starts_are_within_30_percent(
    run_s: Callable[[], float], places: int
) -> None:
    random.seed(7)
    ratios = simulate(run_s, places=places, load=1.2, jobs=600)[-500:]
    assert len(ratios) >= 400
    good = sum(0.7 <= ratio <= 1.3 for ratio in ratios)
    assert good >= len(ratios) / 2, f"{good} of {len(ratios)}"


def test_nine_of_ten_start_before_the_p90() -> None:
    random.seed(7)
    run_times = [random.expovariate(1.0) for _ in range(512)]
    guess = estimate(RunTimes.of(run_times), ahead=20, busy=4, free=0)
    assert guess is not None
    waits = []
    for _ in range(2000):
        free_at = [random.expovariate(1.0) for _ in range(4)]
        heapq.heapify(free_at)
        for _ in range(20):
            heapq.heappush(free_at, heapq.heappop(free_at) + random.choice(run_times))
        waits.append(heapq.heappop(free_at))
    early = sum(wait <= guess.start_p90_s for wait in waits) / len(waits)
    assert 0.8 <= early <= 0.97


def test_a_free_place_is_taken_at_once() -> None:
    guess = estimate(RunTimes.of([2.0] * 10), ahead=0, busy=1, free=1)
    assert guess is not None
    assert (guess.start_p50_s, guess.start_p90_s, guess.finish_p50_s) == (0.0, 0.0, 2.0)


def test_there_is_no_estimate_without_workers_or_without_a_past() -> None:
    assert estimate(RunTimes.of([1.0]), ahead=0, busy=0, free=0) is None
    assert estimate(RunTimes.of([]), ahead=0, busy=1, free=0) is None


def test_what_runs_is_compared_with_runs_that_took_longer() -> None:
    guess = estimate(
        RunTimes.of([1.0, 2.0, 10.0]), ahead=0, busy=1, free=0, running=True, elapsed_s=5.0
    )
    assert guess is not None
    assert guess.finish_p50_s == 5.0
    later = estimate(RunTimes.of([1.0, 2.0]), ahead=0, busy=1, free=0, running=True, elapsed_s=5.0)
    assert later is not None
    assert later.finish_p50_s == 5.0


def test_one_that_begins_later_does_not_start_before() -> None:
    guess = estimate(RunTimes.of([1.0]), ahead=0, busy=0, free=3, delay_s=60.0)
    assert guess is not None
    assert guess.start_p50_s == 60.0


def test_a_quantile_is_one_of_the_numbers() -> None:
    assert quantile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert quantile([1.0], 0.9) == 1.0
