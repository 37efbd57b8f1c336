"""The words that must not come back, in documents, messages and docstrings.

Each is a metaphor of this house, or a phrase that no native writer would use; beside it is what to
say.  See "Documents" in CONTRIBUTING.md.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.documents.blocks import ROOT

PACKAGES = ("client_sdk", "queue_service", "inference_worker", "deploy", "penstock")

#: Files of Python that still have such words.  A file leaves the list when it is rewritten
#: (`make docs` removes it); none is ever added.
TO_REWRITE = Path(__file__).with_name("words_to_rewrite.txt")

WORDS: dict[str, str] = {
    r"told by": "reported by, over",
    r"(?:is|are|was|were|been|be) told(?! apart)": "gets, receives, is notified",
    r"who leaves": "disconnecting",
    r"how-manieth": "the attempt number",
    r"who(?:m)?ever": "the client, the operator, any process",
    r"anew": "again",
    r"mend(?:s|ed|ing)?": "fix",
    r"so many": "the number of",
    r"so long": "that long, the duration of",
    r"somebody": "a client, another process",
    r"of one's own": "your own",
    r"(?<!Hugging )faces?": "API",
    r"doors?": "entry point, API",
    r"the rooms?|one room|every room|each room": "package, layer",
    r"one arrow|the arrow": "the dependencies, the transition",
    r"hand(?:ed)?[- ]outs?": "delivery, delivered",
    r"place in (?:the )?line|in line|full line": "position, waiting, full queue",
    r"stands? (?:in|behind|for)": "is in, follows, is",
    r"with whose eyes": "for which group",
    r"empt(?:y|ier|iest)-handed|emptiest": "holds the fewest",
    r"taken at (?:its|their) word": "applies",
    r"and its kin|and its like|and their like": "and similar",
    r"wants? (?:it|one|to be)": "needs",
    r"lies? still": "wait",
}

_FENCE = re.compile(r"^ *```.*?^ *```$|<!--.*?-->|`[^`\n]+`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)
_WORDS = re.compile("|".join(rf"(?P<w{n}>\b(?:{word})\b)" for n, word in enumerate(WORDS)), re.I)


def found_in(text: str) -> list[str]:
    """Return each forbidden word of a text, with what to say in its place."""
    return [
        f"{match[0]!r} (say: {list(WORDS.values())[int(str(match.lastgroup)[1:])]})"
        for match in _WORDS.finditer(text)
    ]


def prose_of(markdown: str) -> str:
    """Return a document without code, the targets of links, and marks."""
    return _FENCE.sub("", markdown)


def documents() -> Iterator[tuple[str, str]]:
    """Yield each document of the repository, its name and its prose."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/**/*.md")]
    pages += [page for package in PACKAGES for page in (ROOT / package).rglob("*.md")]
    for page in sorted(pages):
        text = page.read_text(encoding="utf-8")
        if page.name == "CHANGELOG.md":
            # Released sections are history.
            text = re.split(r"^## \[(?!Unreleased)", text, flags=re.MULTILINE)[0]
        yield str(page.relative_to(ROOT)), prose_of(text)


def sources() -> Iterator[tuple[str, str]]:
    """Yield each file of Python, its name and its texts: docstrings, messages, help."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.stem.endswith("_pb2"):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            texts = (
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )
            # A line end inside of a docstring is a space.
            yield str(path.relative_to(ROOT)), "\n".join(" ".join(text.split()) for text in texts)


def to_rewrite() -> set[str]:
    """Return the files that are excused until they are rewritten."""
    lines = TO_REWRITE.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def write_to_rewrite() -> None:
    """Drop the files from the list that are clean, or gone."""
    unclean = {file for file, text in sources() if found_in(text)}
    head = "# Files whose docstrings or messages have words of words.py; the list only shrinks.\n"
    lines = sorted(to_rewrite() & unclean)
    TO_REWRITE.write_text(head + "".join(f"{line}\n" for line in lines), encoding="utf-8")
