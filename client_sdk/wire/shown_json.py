"""How errors about JSON name a place and show a value, in workers and in the service."""

from collections.abc import Iterable
from typing import Any

#: The most characters of a value, and of a path, that an error shows.
MAX_SHOWN, MAX_PATH = 64, 256


def pointer(steps: Iterable[int | str]) -> str:
    """Return a JSON pointer (RFC 6901), not too long."""
    text = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    # Half of a surrogate pair cannot be encoded.
    return text[:MAX_PATH].encode(errors="replace").decode()


def shown(value: Any) -> str:
    """Return a value for an error, not too long."""
    match value:
        case dict():
            return "an object"
        case list():
            return f"a list of {len(value)}"
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            text = repr(value[: MAX_SHOWN + 1])
        case int() if abs(value) > 10**MAX_SHOWN:
            return "a number of many digits"
        case _:
            text = repr(value)
    return text if len(text) <= MAX_SHOWN + 2 else f"{text[:MAX_SHOWN]}..."
