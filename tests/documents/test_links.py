"""What a document links to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOLDERS = (
    "",
    "docs",
    "client_sdk",
    "queue_service",
    "inference_worker",
    "deploy",
    "penstock",
    "examples/*",
)
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))

LINK = re.compile(r"\]\(([^)#\s]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    files = [link for link in links if "://" not in link]
    assert [link for link in files if not (document.parent / link).exists()] == []
