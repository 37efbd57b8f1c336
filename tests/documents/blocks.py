"""The blocks of commands and of Python in a document, as a reader copies them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: What can be run; a fence of another language shows data.
LANGUAGES = {"", "sh", "bash", "python"}

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4}\S.*\n(?: {4,}.*\n|\n(?= {4}\S))*)")


@dataclass(frozen=True)
class Block:
    """One block of a page.  text: without the indentation or the fence."""

    page: str
    language: str
    text: str

    @property
    def name(self) -> tuple[str, str]:
        """The page and the first line without its comment, by which the tests name the block."""
        return self.page, self.text.partition("\n")[0].partition("   #")[0].rstrip()


def blocks(page: str) -> list[Block]:
    """Return all blocks of a page that can be run."""
    text = (ROOT / page).read_text()
    found = [
        Block(page, match[1], match[2]) for match in _FENCED.finditer(text) if match[1] in LANGUAGES
    ]
    # What is indented inside of a fence is part of that one.
    rest = _FENCED.sub("", text)
    for match in _INDENTED.finditer(rest):
        lines = match[0].rstrip().splitlines()
        found.append(Block(page, "", "\n".join(line[4:] for line in lines) + "\n"))
    return found


def block(page: str, first_line: str) -> str:
    """Return the text of the one block of the page that begins like this."""
    (one,) = (block.text for block in blocks(page) if block.name == (page, first_line))
    return one
