"""The table of files in the README of each package: `make docs`.

It is between `<!-- files -->` and `<!-- end files -->`, one row for each file, with a heading for
each folder.  Rows are written by hand; `make docs` only adds a row for a new file, with the first
line of its docstring, and removes the row of a file that is gone.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from tests.documents.blocks import ROOT

PACKAGES = ("client_sdk", "queue_service", "inference_worker", "deploy", "penstock")

#: Kinds of files that have a row.
_SUFFIXES = {".py", ".lua", ".proto", ".html", ".js", ".css"}

_TABLE = re.compile(r"(<!-- files -->\n).*?(<!-- end files -->)", re.DOTALL)
_HEADING = re.compile(r"^\*\*`(.*)/`\*\*", re.MULTILINE)
_ROW = re.compile(r"^\| `([^`]+)` \| (.*) \|$", re.MULTILINE)


def readme(package: str) -> Path:
    """Return where the table of a package is."""
    return ROOT / package / "README.md"


def files(package: str) -> list[str]:
    """Return the files of a package that have a row, the folder's own before those of folders."""
    folder = ROOT / package
    paths = [path.relative_to(folder) for path in folder.rglob("*") if _has_row(path)]
    return [str(path) for path in sorted(paths, key=lambda path: (path.parent.parts, path.name))]


def _has_row(path: Path) -> bool:
    is_generated = path.stem.endswith("_pb2")
    is_empty_init = path.name == "__init__.py" and path.parent.parent != ROOT
    return path.suffix in _SUFFIXES and not is_generated and not is_empty_init


def described(text: str) -> dict[str, str]:
    """Return what a README says about each file, by its path in the package."""
    table = _TABLE.search(text)
    assert table is not None, "a README needs the marks of its table of files"
    rows: dict[str, str] = {}
    # The text before the first heading is about the package's own folder.
    folders = ["", *_HEADING.findall(table[0])]
    for folder, part in zip(folders, _split(table[0]), strict=True):
        for name, about in _ROW.findall(part):
            rows[f"{folder}/{name}".removeprefix("/")] = about
    return rows


def _split(table: str) -> list[str]:
    starts = [0, *(match.start() for match in _HEADING.finditer(table)), len(table)]
    return [table[start:end] for start, end in itertools.pairwise(starts)]


def with_table(package: str) -> str:
    """Return the README of a package with one row for each of its files."""
    text = readme(package).read_text(encoding="utf-8")
    rows = described(text)
    lines = "\n".join(_lines(package, rows))
    return _TABLE.sub(lambda place: f"{place[1]}{lines}\n{place[2]}", text)


def _lines(package: str, rows: dict[str, str]) -> Iterator[str]:
    last = None
    for file in files(package):
        folder, _, name = file.rpartition("/")
        if folder != last:
            if folder:
                yield f"\n**`{folder}/`**\n"
            yield "| file | what it does |\n|---|---|"
            last = folder
        yield f"| `{name}` | {rows.get(file) or _docstring(ROOT / package / file)} |"


def _docstring(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    first = text.partition("\n")[0].strip("-/*<!> ").removesuffix(".")
    return first.replace("|", "\\|") or path.stem
