"""Every setting is in docs/operations.md, with the default that it has."""

import pytest

from tests.documents.settings_table import DOCUMENT, MODELS, rows, with_tables


def test_the_tables_of_settings_are_up_to_date() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run `make docs`"


@pytest.mark.parametrize("title", MODELS)
def test_every_setting_is_documented_with_a_sentence(title: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for row in rows(MODELS[title]):
        assert row in text
        assert row.endswith(". |"), f"this setting has no sentence: {row}"
