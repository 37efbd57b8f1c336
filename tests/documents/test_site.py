"""The documentation is a site: it builds without a warning and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.documents.blocks import ROOT
from tests.documents.site_pages import ADDED

#: What a page loads when it is opened: not what it links to.
_LOADED = re.compile(
    r'<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]*)'
)


def _pages_of_the_navigation() -> set[str]:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return {
        page for section in config["nav"] for pages in section.values() for page in _leaf(pages)
    }


def _leaf(pages: list[dict[str, str]]) -> list[str]:
    return [path for page in pages for path in page.values()]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_builds_strictly_and_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(_pages_of_the_navigation())
    loaded = {
        f"{page.name}: {address}" for page in pages for address in _LOADED.findall(page.read_text())
    }
    assert loaded == set()
    styles = "\n".join(path.read_text() for path in tmp_path.rglob("*.css"))
    assert not re.search(r"url\((?:https?:)?//|@import", styles)


def test_every_page_is_in_the_navigation_and_in_the_index() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} | set(ADDED)
    assert _pages_of_the_navigation() == pages
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {os.path.normpath(f"docs/{link}") for link in re.findall(r"\]\(([^)#\s]+)", index)}
    expected = {ADDED.get(page, f"docs/{page}") for page in pages} - {"docs/README.md"}
    assert expected - linked == set()


def test_the_readme_has_at_most_900_words() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
