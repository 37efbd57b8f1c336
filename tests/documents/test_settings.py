"""What is generated in the documents is up to date: settings, commands, metrics, other tables."""

import pytest

from tests.documents import annotations_table, command_page, file_tables, metrics_page
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


# croniter, which a command imports, starts `file` to learn the size of a pointer.
@pytest.mark.process
def test_the_page_of_commands_is_up_to_date() -> None:
    assert command_page.DOCUMENT.read_text(encoding="utf-8") == command_page.page(), (
        "run `make docs`"
    )


def test_the_table_of_annotations_is_up_to_date() -> None:
    text = annotations_table.DOCUMENT.read_text(encoding="utf-8")
    assert annotations_table.with_table(text) == text, "run `make docs`"


def test_every_metric_is_documented() -> None:
    assert metrics_page.DOCUMENT.read_text(encoding="utf-8") == metrics_page.page(), (
        "run `make docs`"
    )


@pytest.mark.parametrize("package", file_tables.PACKAGES)
def test_the_readme_of_a_package_lists_every_file_and_no_other(package: str) -> None:
    listed = file_tables.described(file_tables.readme(package).read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(file_tables.files(package)), "run `make docs`"
    assert [file for file, about in listed.items() if not about] == []
