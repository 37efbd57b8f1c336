"""JSON that every parser reads: without NaN and Infinity, and not nested too deep.

Python reads `NaN` and `1e999` from engines and clients and writes them back; browsers and most
other languages then refuse the whole document.  Here they become null.
"""

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from aiohttp import web

#: Anything nested deeper becomes null: parsers give up at a few hundred.
MAX_DEPTH = 200
#: What arrived, in a refusal of a body for which Python's parser gives up.
TOO_DEEP = "brackets nested too deep"


def dumps(value: object, *, ensure_ascii: bool = True) -> str:
    """Write JSON; NaN and Infinity become null."""
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False)
    except (ValueError, RecursionError):
        return json.dumps(_finite(value, 0), ensure_ascii=ensure_ascii, allow_nan=False)


def read_object(text: bytes) -> dict[str, Any]:
    """Read an engine's JSON object; empty for anything else."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which are not JSON; for `parse_constant`."""
    raise ValueError(f"{name} is not a JSON number")


json_response = partial(web.json_response, dumps=dumps)


def _finite(value: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, depth + 1) for item in value]
    return value
