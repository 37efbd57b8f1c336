"""Every setting is in docs/operations.md, with the default that it has."""

from pathlib import Path

import pytest

from tests.documents.settings_table import MODELS, rows

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.mark.parametrize("title", MODELS)
def test_every_setting_is_documented_as_it_is(title: str) -> None:
    written = OPERATIONS.read_text(encoding="utf-8").splitlines()
    missing = [row for row in rows(MODELS[title]) if row not in written]
    assert missing == [], "write these rows into docs/operations.md"
