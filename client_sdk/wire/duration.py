"""Durations as the Go clients write them: `5s`, `1m30s`, `1.5h`, `100ms`, and bare seconds.

The grammar is that of Go's time.ParseDuration.  A number without a unit means seconds, because two
EAS clients in the field send one.
"""

import math
import re

from client_sdk.wire.errors import WireError

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_BARE = re.compile(_NUMBER)
_PART = re.compile(rf"({_NUMBER})(h|ms|m|us|µs|ns|s)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")

#: Longer texts are refused without parsing.
MAX_TEXT_LENGTH = 32


def parse_duration(text: str) -> float:
    """Return a duration in seconds.

    Raises WireError if the text is not a duration, is negative or too large.
    """
    expected = "a duration such as 5s, 1m30s or 100ms"
    if len(text) > MAX_TEXT_LENGTH:
        raise WireError(expected, f"{len(text)} characters")
    if _BARE.fullmatch(text):
        seconds = float(text)
    elif _WHOLE.fullmatch(text):
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    else:
        raise WireError(expected, repr(text))
    if not math.isfinite(seconds):
        raise WireError(expected, repr(text))
    return seconds
