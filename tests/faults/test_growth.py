"""A memory that grows is distinguished from one that moves."""

import random

from tests.faults.growth import growth


def test_a_memory_that_goes_up_and_down_with_the_load_is_flat() -> None:
    rng = random.Random(1)
    points = [(float(second), 50_000 + rng.uniform(0, 30_000)) for second in range(600)]
    assert not growth(points).is_growing


def test_a_memory_that_fills_at_first_is_flat() -> None:
    points = [(float(second), 50_000 + 1000.0 * min(second, 100)) for second in range(600)]
    assert not growth(points).is_growing


def test_a_leak_under_a_load_that_comes_and_goes_is_growing() -> None:
    rng = random.Random(1)
    points = [
        (float(second), 50_000 + 40.0 * second + rng.uniform(0, 10_000)) for second in range(600)
    ]
    found = growth(points)
    assert found.is_growing
    assert 100_000 < found.per_hour_kb < 190_000


def test_too_few_samples_say_nothing() -> None:
    assert not growth([]).is_growing
    assert not growth([(0.0, 1.0), (1.0, 1e9)]).is_growing
