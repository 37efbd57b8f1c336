"""The journeys of docs/architecture.md are true: each file imports the next, and none goes back."""

import ast
import itertools
import re
from pathlib import Path

import pytest

from tests.documents.blocks import ROOT

PAGE = ROOT / "docs" / "architecture.md"

_JOURNEY = re.compile(r"^### (\w+)\n(.*?)(?=^##)", re.DOTALL | re.MULTILINE)
_STEP = re.compile(r"^(\d+)\. \[`([\w/.]+)`\]\(\.\./([\w/.]+)\): ", re.MULTILINE)


def _journeys() -> dict[str, list[list[str]]]:
    """Return the lists of files of each journey; a list is what happens in one process."""
    journeys: dict[str, list[list[str]]] = {}
    for title, text in _JOURNEY.findall(PAGE.read_text(encoding="utf-8")):
        lists: list[list[str]] = []
        for number, shown, target in _STEP.findall(text):
            assert shown == target
            if number == "1":
                lists.append([])
            lists[-1].append(shown)
            assert int(number) == len(lists[-1])
        journeys[title] = lists
    return journeys


JOURNEYS = _journeys()
LISTS = [
    pytest.param(files, id=f"{title}-{number}")
    for title, lists in JOURNEYS.items()
    for number, files in enumerate(lists, 1)
]


def _imports(file: str) -> set[str]:
    """Return the files of the repository that a file imports, also inside of functions."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    paths = {f"{name.replace('.', '/')}.py" for name in names}
    return {path for path in paths if (ROOT / path).exists()}


def test_there_are_the_five_journeys() -> None:
    assert list(JOURNEYS) == ["Put", "Deliver", "Run", "Cancel", "Create"]
    assert all(lists and all(len(files) > 1 for files in lists) for lists in JOURNEYS.values())


@pytest.mark.parametrize("files", LISTS)
def test_every_file_of_a_journey_imports_the_next_one(files: list[str]) -> None:
    for file, following in itertools.pairwise(files):
        assert (ROOT / following).exists()
        if following.endswith(".lua"):
            # A script is loaded by its name, which a file on the way passes down.
            verb = re.compile(rf'"{Path(following).stem}"')
            assert any(
                verb.search((ROOT / name).read_text()) for name in files if name != following
            )
        else:
            assert following in _imports(file), f"{file} does not import {following}"


@pytest.mark.parametrize("files", LISTS)
def test_no_file_of_a_journey_goes_back(files: list[str]) -> None:
    assert len(files) == len(set(files))
    for place, file in enumerate(files):
        if file.endswith(".py"):
            assert not _imports(file) & set(files[:place]), file
