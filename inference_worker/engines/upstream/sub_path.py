"""Which paths of a server a job may use.  Pure.

A server, or a proxy before it, may interpret a path differently from this worker: decode escapes
twice, treat a backslash as a slash, cut a segment at `;`, or reduce `//` to `/`.  So a path is
refused if any of these interpretations leaves the operator's path, or differs from the checked
path.
"""

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote, unquote

from inference_worker.engines import openai_requests

#: The characters that need no escaping in a path, besides letters, digits and `_.-~`.
_PATH_CHARACTERS = "/:@!$&'()*+,;="

#: How many levels of escapes are checked; no server decodes a path more often.
_MOST_ESCAPES = 8

#: Characters that are not allowed in a path: controls, halves of surrogate pairs, the replacement
#: character of decoders, the backslash, and the start of a query or a fragment.
_NO_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd\\?#]")

#: The paths of the OpenAI API.
_OPENAI = tuple(sorted(f"/{path}" for path in openai_requests.PATHS))


class BadPath(ValueError):
    """A job may not use this path; the message says why."""


def encoded_path(path: str, *, allowed: Sequence[str] | None) -> str:
    """Return a job's encoded sub-path, with a slash before it, or "" for none.

    allowed: paths, or prefixes that end with `/*`; None allows every path.  A job without a
    sub-path goes to the path of the engine's URL, which the operator has set.
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
    """Return the paths that jobs may use: the operator's setting, or the default.

    has_credentials: requests carry the operator's credentials; then jobs must not use them for any
    path.
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
    # NFKC: some servers treat full-width dots and slashes as plain ones.
    for text in (reading, unicodedata.normalize("NFKC", reading)):
        if _NO_PATH.search(text):
            raise BadPath(f"expected a sub-path of plain characters, got {path!a}")
        if text.count("/") != reading.count("/"):
            raise BadPath(f"expected a sub-path of plain slashes, got {path!a}")
        for segment in text.split("/"):
            name = segment.partition(";")[0].strip()
            if name.strip(".") == "":
                # Empty, `.` or `..`, also with parameters after them.
                raise BadPath(f"expected a sub-path without `.`, `..` and `//`, got {path!a}")
