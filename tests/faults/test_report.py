"""A report states what has happened in its run, and nothing else."""

import pytest

from tests.faults.cells import Cell, Fault, cells
from tests.faults.report import Report


def report_of(drawn: list[Cell], *, has_clock: bool) -> str:
    report = Report(has_clock=has_clock)
    for cell in drawn:
        report.cells[cell].faults["idle"] += 1
    return "\n".join(report.notes())


@pytest.mark.parametrize("has_clock", [True, False])
def test_only_a_missing_compiler_is_blamed_on_the_compiler(has_clock: bool) -> None:
    few = [cell for cell in cells() if cell.fault is Fault.KILL]
    told = report_of(few, has_clock=has_clock)
    assert ("compiler" in told) is not has_clock
    assert "not drawn" in told


def test_a_run_of_every_cell_has_nothing_to_explain() -> None:
    told = report_of(list(cells()), has_clock=True)
    assert "compiler" not in told
    assert "not drawn" not in told


def test_without_a_compiler_every_other_cell_may_have_been_drawn() -> None:
    others = [cell for cell in cells() if cell.fault is not Fault.CLOCK]
    told = report_of(others, has_clock=False)
    assert "compiler" in told
    assert "not drawn" not in told
