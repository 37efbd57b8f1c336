"""A small fixed part of the kill matrix; `make faults` runs the whole."""

from pathlib import Path

import pytest

from tests.faults.cells import SCALED, Cell, Fault, Load, Victim, cells, plan, short_plan
from tests.faults.cluster import Cluster, Shape
from tests.faults.round import run_round

SEED = 11


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_part_of_the_matrix_loses_nothing_doubles_nothing_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path, Shape(seed=SEED, lease_s=2.0, sink_length=500))
    try:
        await cluster.start()
        for planned in short_plan(SEED):
            outcome = await run_round(cluster, planned)
            assert not outcome.violations, "\n".join(map(str, outcome.violations[:20]))
            assert len(outcome.injuries) == len(planned.cells)
            assert outcome.verdict.accepted
    finally:
        await cluster.stop()


def test_a_seed_repeats_a_plan_and_another_seed_gives_another() -> None:
    assert list(plan(1, minutes=15)) == list(plan(1, minutes=15))
    assert list(plan(1, minutes=15)) != list(plan(2, minutes=15))


def test_a_quarter_of_an_hour_has_three_hundred_faults_and_every_cell_under_every_load() -> None:
    rounds = list(plan(3, minutes=15))
    assert sum(len(planned.cells) for planned in rounds) >= 300
    for load in Load:
        inflicted = {cell for planned in rounds if planned.load is load for cell in planned.cells}
        assert inflicted == set(cells())


def test_a_plan_of_some_faults_has_only_these() -> None:
    drawn = {cell for planned in plan(3, minutes=3, only="scale") for cell in planned.cells}
    assert drawn == {cell for cell in cells() if cell.victim in SCALED}


def test_a_plan_without_a_clock_moves_none() -> None:
    moved = Cell(Victim.REDIS, Fault.CLOCK)
    assert not any(moved in planned.cells for planned in plan(3, minutes=15, with_clock=False))
