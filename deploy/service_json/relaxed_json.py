"""JSON with comments (`#`, `//`, `/* */`) and trailing commas.

Replaces what is not JSON with blanks, so that an error has the line and column of the file.
"""

import json
import re
from typing import Any

_STRING = r'"(?:\\.|[^"\\\n])*"'
_COMMENTS = re.compile(rf"({_STRING})|#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_COMMAS = re.compile(rf"({_STRING})|,(?=\s*[}}\]])", re.DOTALL)


class RelaxedJsonError(ValueError):
    """The text is not valid; the message says where and why."""


def loads(text: str) -> Any:
    """Return the parsed document; raises RelaxedJsonError."""
    plain = _COMMAS.sub(_blank, _COMMENTS.sub(_blank, text.removeprefix("\ufeff")))
    try:
        return json.loads(plain, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise RelaxedJsonError(
            f"expected JSON, got something else at {where}: {error.msg}"
        ) from None
    except RelaxedJsonError:
        raise
    except ValueError as error:
        # A number with thousands of digits.
        raise RelaxedJsonError(f"expected JSON, got a value that cannot be read: {error}") from None
    except RecursionError:
        raise RelaxedJsonError("expected JSON, got brackets nested too deeply") from None


def _blank(found: re.Match[str]) -> str:
    return found[1] or re.sub(r"[^\n]", " ", found[0])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for key, value in pairs:
        if key in known:
            raise RelaxedJsonError(f"expected each key once in its object, got {key!r} twice")
        known[key] = value
    return known
