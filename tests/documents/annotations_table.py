"""The table of annotations in docs/typed-handlers.md, from the rows that the tests check."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.inference_worker.engines.annotations import A_FILE, GROUPS, TYPES, Row

DOCUMENT = Path(__file__).parents[2] / "docs" / "typed-handlers.md"
_TABLE = re.compile(r"(<!-- annotations -->\n).*?(<!-- end annotations -->)", re.DOTALL)
_DATA = re.compile(r"(data:[a-z/-]+;base64,)[A-Za-z0-9+/=]{9,}")
_HEAD = "| annotation | a job sends | `predict` receives | refused | error |\n|---|---|---|---|---|"


def with_table(text: str) -> str:
    """Return the page with the table as the rows are now."""
    return _TABLE.sub(lambda place: f"{place[1]}{_table()}\n{place[2]}", text)


def _table() -> str:
    return f"```python\n{TYPES.rstrip()}\n```\n\n" + "\n\n".join(
        "\n".join([f"**{title}**\n", _HEAD, *map(_row, rows)]) for title, rows in GROUPS.items()
    )


def _row(row: Row) -> str:
    error = row.error.removeprefix(": ").replace(A_FILE, "expected a file as a data URL")
    error += " (worker)" if row.is_left else ""
    cells = [row.annotation, _json(row.valid), row.received, _json(row.invalid)]
    return f"| {' | '.join(_cells(cells))} | {_text(error)} |"


def _cells(cells: list[str]) -> Iterator[str]:
    for cell in cells:
        yield f"`{cell}`".replace("|", "\\|")


def _json(value: Any) -> str:
    return _DATA.sub(r"\1...", json.dumps(value))


def _text(error: str) -> str:
    return error.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
