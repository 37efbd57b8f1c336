"""The house rules that a program can check: sizes, docstrings, names, and what is documented."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from client_sdk.wire.codes import CloseCode, Code
from tests.quick import PATHS

ROOT = Path(__file__).parents[1]

PACKAGES = ("client_sdk", "queue_service", "inference_worker", "deploy", "penstock")

#: Most lines of a file, and of a function without its docstring.
FILE_LINES = 400
FUNCTION_LINES = 60

#: Names of files that say nothing, or that hide a module of the standard library.
FORBIDDEN_FILES = {"util", "utils", "common", "helper", "helpers", "base", "misc", "manager"}
SHADOWING_FILES = {"queue", "http", "redis", "signal", "logging"}

#: Its files are named after what users type, `penstock queue` among them.  No file there is a
#: program, so the folder is never on the search path and cannot hide the standard library.
COMMANDS = ROOT / "deploy" / "commands"

#: Words that the queue service has other words for.
FORBIDDEN_WORDS = {
    "job": "entry",
    "jobs": "entries",
    "record": "entry",
    "topic": "queue",
    "channel": "queue",
    "consumer": "subscriber",
    "consumers": "subscribers",
    "prefetch": "window",
    "credit": "window",
    "ack": "commit",
    "nack": "reject",
    "requeue": "redeliver",
}

#: The EAS protocol's and Redis' own words, where the code speaks to them.
PERMITTED_WORDS = {
    "web": {"consumer", "consumers"},
    "jobs": {"job", "jobs"},
    # The lines of a batch are jobs, in the words of the jobs API.
    "batches": {"job", "jobs"},
    "store": {"consumer", "consumers", "channel"},
    # The library that writes logs calls a line a record.
    "logs": {"record"},
}

#: Users' programs as tests run them: that they take their time is what they are there for.
SLEEPING_SUBJECTS = {"tests/inference_worker/handlers.py"}


def _is_ours(path: Path) -> bool:
    return not path.stem.endswith("_pb2") and ".venv" not in path.parts


SOURCES = [
    path
    for folder in (*PACKAGES, "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if _is_ours(path)
]
SCRIPTS = sorted((ROOT / "queue_service" / "store" / "lua").glob("*.lua"))

#: What every script begins with when it is loaded; no verb of its own.
PRELUDE = "prelude"


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@dataclass
class Facts:
    """What the rules for every file ask of one."""

    is_documented: bool
    long_functions: dict[str, int] = field(default_factory=dict)
    sleeps: list[int] = field(default_factory=list)
    mocks: bool = False


@cache
def _facts(path: Path) -> Facts:
    """Parse a file and go through it once: to keep its tree would take hundreds of megabytes."""
    tree = _tree(path)
    facts = Facts(is_documented=bool(ast.get_docstring(tree)))
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if (length := _length(node)) > FUNCTION_LINES:
                    facts.long_functions[node.name] = length
            case ast.Call(func=ast.Attribute(value=ast.Name("time" | "asyncio"), attr="sleep")):
                facts.sleeps.append(node.lineno)
            case ast.Import() | ast.ImportFrom() if "mock" in ast.unparse(node):
                facts.mocks = True
    return facts


def test_no_file_is_too_long() -> None:
    lines = {_short(path): len(path.read_text().splitlines()) for path in [*SOURCES, *SCRIPTS]}
    assert {path: count for path, count in lines.items() if count > FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    too_long = {
        f"{_short(path)}:{name}": length
        for path in SOURCES
        for name, length in _facts(path).long_functions.items()
    }
    assert too_long == {}


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from `def` to the last one, less the docstring's."""
    assert function.end_lineno is not None
    length = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        assert docstring.end_lineno is not None
        length -= docstring.end_lineno - docstring.lineno + 1
    return length


def test_every_module_says_what_it_is() -> None:
    silent = [_short(path) for path in SOURCES if not _facts(path).is_documented]
    silent += [_short(path) for path in SCRIPTS if not path.read_text().startswith("-- ")]
    assert silent == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    forbidden = FORBIDDEN_FILES | SHADOWING_FILES
    found = [path for path in SOURCES if path.stem in forbidden and path.parent != COMMANDS]
    assert [_short(path) for path in found] == []


def test_the_queue_service_keeps_to_the_glossary() -> None:
    found = [
        f"{_short(path)}: {name} (say {FORBIDDEN_WORDS[word]})"
        for path in SOURCES
        if path.is_relative_to(ROOT / "queue_service")
        for name in sorted(set(_defined_names(_tree(path))))
        for word in _words(name)
        if word in FORBIDDEN_WORDS and word not in _permitted(path)
    ]
    assert found == []


def _permitted(path: Path) -> set[str]:
    return PERMITTED_WORDS.get(path.parent.name, set()) | PERMITTED_WORDS.get(path.stem, set())


def _defined_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def _words(name: str) -> list[str]:
    """Return the words of an identifier, `RedeliverAll` and `redeliver_all` alike."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


#: What a queue can be asked; each is one script, so that it happens whole or not at all.
VERBS = {
    "put",
    "get",
    "deliver",
    "complete",
    "commit",
    "reject",
    "release",
    "renew",
    "expire",
    "delete",
    "truncate",
    "search",
    "attributes",
}


def test_every_script_has_a_method_of_the_store_and_every_verb_a_script() -> None:
    folder = ROOT / "queue_service" / "store"
    classes = [
        node
        for file in ("store.py", "dead_letters.py", "tickets.py", "scaling.py", "activity.py")
        for node in _tree(folder / file).body
        if isinstance(node, ast.ClassDef)
        and node.name in {"Store", "DeadLetterStore", "TicketStore", "ScaleStore", "ActivityStore"}
    ]
    # A verb that takes many callers' items in one call is an attribute of its instance.
    methods = {
        name for class_ in classes for name in _defined_names(class_) if not name.startswith("_")
    }
    scripts = {path.stem for path in SCRIPTS} - {PRELUDE}
    assert scripts - methods == set(), "scripts that no method of Store calls"
    assert VERBS - scripts == set(), "verbs without a script"


def _documents() -> str:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    pages += [page for package in PACKAGES for page in (ROOT / package).rglob("*.md")]
    return "\n".join(page.read_text() for page in pages)


def test_every_error_code_and_close_code_is_documented() -> None:
    documents = _documents()
    codes = {str(code) for code in Code} | {str(int(code)) for code in CloseCode}
    assert {code for code in codes if not re.search(rf"\b{code}\b", documents)} == set()


TESTS = [path for path in SOURCES if path.is_relative_to(ROOT / "tests")]


def test_tests_sleep_in_one_file_only() -> None:
    sleeping = [
        f"{_short(path)}:{line}"
        for path in TESTS
        if path.name != "waiting.py" and _short(path) not in SLEEPING_SUBJECTS
        for line in _facts(path).sleeps
    ]
    assert sleeping == []


def test_no_test_mocks_anything() -> None:
    assert [_short(path) for path in TESTS if _facts(path).mocks] == []


@pytest.mark.parametrize("name", PATHS)
def test_a_path_of_the_quick_run_exists(name: str) -> None:
    assert (ROOT / "tests" / name).exists()
