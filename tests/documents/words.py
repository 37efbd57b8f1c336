"""The words that must not come back, in documents, messages and docstrings.

Each is a metaphor of this house, or a phrase that no native writer would use; beside it is what to
say.  See "Documents" in CONTRIBUTING.md.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.documents.blocks import ROOT

PACKAGES = ("client_sdk", "queue_service", "inference_worker", "deploy", "penstock")

#: Texts that are not Python, as patterns below the repository.
OTHER_SOURCES = (
    "*/**/*.lua",
    "*/**/*.proto",
    "Makefile",
    "pyproject.toml",
    ".env.example",
    "*.yml",
)

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

_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
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
    """Yield each source file, its name and its texts.

    Of Python the docstrings, messages, help, and comments if any has a word; of other files all.
    """
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not path.stem.endswith("_pb2"):
                source = path.read_text(encoding="utf-8")
                yield str(path.relative_to(ROOT)), "\n".join(_texts_of(source))
    for pattern in OTHER_SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            if path.parts[len(ROOT.parts)] not in ("build", ".venv"):
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def texts_of_tests() -> Iterator[tuple[str, str]]:
    """Yield each file of tests, its name and its texts, as in `sources`, and names."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.parent == Path(__file__).parent and path.stem in ("words", "test_words"):
            continue
        source = path.read_text(encoding="utf-8")
        texts = list(_comments_of(source))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, _NAMED):
                texts.append(node.name.replace("_", " "))
            if isinstance(node, (*_NAMED, ast.Module)):
                texts.append(ast.get_docstring(node) or "")
        yield str(path.relative_to(ROOT)), "\n".join(" ".join(text.split()) for text in texts)


def _texts_of(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A line end inside of a docstring is a space.
            yield " ".join(node.value.split())
    yield from _comments_of(source)


def _comments_of(source: str) -> Iterator[str]:
    # To find where comments begin takes ten times as long as to parse.
    if not any(found_in(line[line.index("#") :]) for line in source.splitlines() if "#" in line):
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
