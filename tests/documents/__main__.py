"""Write what is generated in the documents: `make docs`."""

from tests.documents import (
    annotations_table,
    command_page,
    file_tables,
    metrics_page,
    settings_table,
)

settings_table.DOCUMENT.write_text(
    settings_table.with_tables(settings_table.DOCUMENT.read_text(encoding="utf-8")),
    encoding="utf-8",
)
command_page.DOCUMENT.write_text(command_page.page(), encoding="utf-8")
annotations_table.DOCUMENT.write_text(
    annotations_table.with_table(annotations_table.DOCUMENT.read_text(encoding="utf-8")),
    encoding="utf-8",
)
metrics_page.DOCUMENT.write_text(metrics_page.page(), encoding="utf-8")
for package in file_tables.PACKAGES:
    file_tables.readme(package).write_text(file_tables.with_table(package), encoding="utf-8")
