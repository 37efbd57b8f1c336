"""Which paths of a server a job may name.  Pure.

A server, or a proxy in front of it, may read a path again after this worker did: undo escapes
twice, take a backslash for a slash, cut a segment at `;`, or fold `//` into `/`.  So a path is
refused when any of these readings leads out of the path that the operator has given, or to another
one than was checked.
"""

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote, unquote

from inference_worker.engines import openai_requests

#: What may stand in a path as it is, beside letters, digits and `_.-~`.
_PATH_CHARACTERS = "/:@!$&'()*+,;="

#: How often a path may be escaped on top of itself; nobody reads one more often than that.
_MOST_ESCAPES = 8

#: What is no character of a path: controls, what a decoder writes for bytes that are no text, and
#: what begins a query or a fragment.
_NO_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffd\\?#]")

#: What the face for OpenAI's clients asks for.
_OPENAI = tuple(sorted(f"/{path}" for path in openai_requests.TEXT | openai_requests.VECTORS))


class BadPath(ValueError):
    """The path is none that a job may name; the text says why."""


def encoded_path(path: str, *, allowed: Sequence[str] | None) -> str:
    """Return a job's sub-path as it is sent, with a slash before it, or "" for none.

    allowed: paths, or beginnings of paths that end with `/*`; None for every path.  A job without
    a sub-path goes to the path of the engine itself, which the operator has named.
    Raises BadPath.
    """
    path = path.removeprefix("/").removesuffix("/")
    if not path:
        return ""
    _check(path)
    if allowed is not None and not any(_fits(f"/{path}", pattern) for pattern in allowed):
        shown = ", ".join(allowed) or "none"
        raise BadPath(f"this service takes no jobs for /{path}; it takes the sub-paths: {shown}")
    return "/" + quote(path, safe=_PATH_CHARACTERS)


def allowed_paths(paths: Sequence[str] | None, *, has_credentials: bool) -> Sequence[str] | None:
    """Return what jobs may name: what the operator says, and where nothing is said, by default.

    has_credentials: the server is sent the operator's own; a job is then not to choose for what.
    """
    if paths is not None:
        return paths
    return _OPENAI if has_credentials else None


def _fits(path: str, pattern: str) -> bool:
    if pattern.endswith("/*"):
        return path.startswith(pattern[:-1])
    return path == pattern.rstrip("/")


def _check(path: str) -> None:
    reading = path
    for _ in range(_MOST_ESCAPES):
        _check_reading(reading, path)
        again = unquote(reading)
        if again == reading:
            return
        if again.count("/") != reading.count("/"):
            raise BadPath(f"expected a sub-path without escaped slashes, got {path!a}")
        reading = again
    raise BadPath(f"expected a sub-path that is escaped once, got {path!a}")


def _check_reading(reading: str, path: str) -> None:
    # As some servers read it: wide dots and slashes as plain ones.
    for text in (reading, unicodedata.normalize("NFKC", reading)):
        if _NO_PATH.search(text):
            raise BadPath(f"expected a sub-path of plain characters, got {path!a}")
        if text.count("/") != reading.count("/"):
            raise BadPath(f"expected a sub-path of plain slashes, got {path!a}")
        for segment in text.split("/"):
            name = segment.partition(";")[0].strip()
            if name.strip(".") == "":
                # Empty, `.`, `..`, and with parameters behind them.
                raise BadPath(f"expected a sub-path without `.`, `..` and `//`, got {path!a}")
