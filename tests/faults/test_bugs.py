"""The seeded defects still fit the product."""

from pathlib import Path

import pytest

from tests.faults.bugs import BUGS, Bug, BugOutdated, Change, put_into
from tests.faults.seeded import ROOT


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_text_that_a_seeded_defect_replaces_is_in_the_product_once(
    bug: Bug, tmp_path: Path
) -> None:
    for change in bug.changes:
        copy = tmp_path / change.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / change.path).read_text())
        put_into(tmp_path, [change])
        assert change.new in copy.read_text()


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.test], ids=lambda bug: bug.name)
def test_the_test_that_finds_a_seeded_defect_is_there(bug: Bug) -> None:
    path, _, name = bug.test.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_seeded_defect_says_what_finds_it(bug: Bug) -> None:
    assert bool(bug.test) != bool(bug.rules and bug.cells)


def test_a_seeded_defect_that_no_longer_fits_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.lua").write_text("return 1\n")
    with pytest.raises(BugOutdated, match="found it 0 times"):
        put_into(tmp_path, [Change("a.lua", "return 2", "return 3")])
