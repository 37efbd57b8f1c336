"""Why an input does not match an annotation, in words: the path, what was expected, what arrived.

pydantic's own messages are about Python: `Input should be a valid dictionary or instance of Size`.
The service refuses the same inputs with the same words, from `client_sdk.wire.schema_words`.  Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from client_sdk.wire.schema_words import (
    FORMATS,
    KINDS,
    UNKNOWN_INPUT,
    alternatives,
    bound,
)
from client_sdk.wire.shown_json import pointer, shown

#: The most errors of one input that are reported.
MAX_ERRORS = 20
#: The longest pattern that an error shows.
MAX_PATTERN = 128
#: What the beginning of a name of an error of pydantic says was expected.
_EXPECTED = {
    "int_": KINDS["integer"],
    "float_": KINDS["number"],
    "bool_": KINDS["boolean"],
    "string_type": KINDS["string"],
    "bytes_type": KINDS["string"],
    "string_sub_type": KINDS["string"],
    "none_required": KINDS["null"],
    "dict_type": KINDS["object"],
    "mapping_type": KINDS["object"],
    "model_": KINDS["object"],
    "dataclass_": KINDS["object"],
    "list_type": KINDS["array"],
    "tuple_type": KINDS["array"],
    "set_type": KINDS["array"],
    "frozen_set_type": KINDS["array"],
    "iterable_type": KINDS["array"],
    "is_sequence_of": KINDS["array"],
    "datetime_": FORMATS["date-time"],
    "date_": FORMATS["date"],
    "time_delta_": FORMATS["duration"],
    "time_": FORMATS["time"],
    "uuid_": FORMATS["uuid"],
    "decimal_parsing": FORMATS["decimal"],
    "decimal_type": FORMATS["decimal"],
    "fraction_parsing": FORMATS["fraction"],
    "ip_v4_address": FORMATS["ipv4"],
    "ip_v6_address": FORMATS["ipv6"],
    "url_": FORMATS["uri"],
    "json_": "a text that is JSON",
    "pattern_regex": "a regular expression",
    "datetime_past": "a date and time in the past",
    "datetime_future": "a date and time in the future",
    "date_past": "a date in the past",
    "date_future": "a date in the future",
}
#: The bound of a schema, and the name of its limit, for a name of an error of pydantic.
_BOUNDS = {
    "greater_than_equal": ("minimum", "ge"),
    "less_than_equal": ("maximum", "le"),
    "greater_than": ("exclusiveMinimum", "gt"),
    "less_than": ("exclusiveMaximum", "lt"),
    "multiple_of": ("multipleOf", "multiple_of"),
    "string_too_short": ("minLength", "min_length"),
    "string_too_long": ("maxLength", "max_length"),
    "too_short": ("minItems", "min_length"),
    "too_long": ("maxItems", "max_length"),
    "string_pattern_mismatch": ("pattern", "pattern"),
}
_LONGEST_FIRST = sorted(_EXPECTED, key=len, reverse=True)


def sentences(error: ValidationError, value: Any, at: str) -> list[str]:
    """Return `path: expected ..., got ...` for each error; alternatives of a union are joined."""
    by_path: dict[str, tuple[list[str], str]] = {}
    for one in error.errors(include_url=False):
        path = at + pointer(_steps(one, value))
        expected, _ = by_path.setdefault(path, ([], _came(one)))
        what = _expected(one)
        if what not in expected:
            expected.append(what)
        if len(by_path) > MAX_ERRORS:
            break
    found = [_sentence(path, *words) for path, words in by_path.items()]
    return found[:MAX_ERRORS]


def _sentence(path: str, expected: list[str], came: str) -> str:
    head = f"{path or 'the input'}: "
    if all(one.startswith("expected ") for one in expected):
        text = "expected " + alternatives([one.removeprefix("expected ") for one in expected])
    else:
        text, came = "; ".join(expected), ""
    return head + text + (f", got {came}" if came and ", got " not in text else "")


def _expected(one: Mapping[str, Any]) -> str:
    kind = one["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return UNKNOWN_INPUT
    noun = _noun(kind, one.get("ctx", {}))
    if noun is None:
        # By pydantic, or by the user's own validator.
        message: str = one["msg"]
        return message.replace("Input should be ", "expected ", 1)
    return f"expected {noun}"


def _noun(kind: str, limits: Mapping[str, Any]) -> str | None:
    match kind:
        case "missing" | "union_tag_not_found":
            return "a value"
        case "literal_error" | "enum":
            return str(limits["expected"])
        case "union_tag_invalid":
            return " or ".join(limits["expected_tags"].rsplit(", ", 1))
        case "url_scheme":
            return f"a URL that begins with {limits['expected_schemes']}"
    if kind in _BOUNDS:
        keyword, name = _BOUNDS[kind]
        limit = limits[name]
        return bound(keyword, limit[:MAX_PATTERN] if keyword == "pattern" else limit)
    begin = next((one for one in _LONGEST_FIRST if kind.startswith(one)), None)
    return _EXPECTED[begin] if begin else None


def _came(one: Mapping[str, Any]) -> str:
    match one["type"]:
        case "missing" | "union_tag_not_found":
            return "nothing"
        case "file":
            return ""
        case "union_tag_invalid":
            return shown(one["ctx"]["tag"])
    return shown(one["input"])


def _steps(one: Mapping[str, Any], value: Any) -> list[int | str]:
    kind = one["type"]
    steps = _real_steps(one["loc"], value, is_missing=kind == "missing")
    if kind.startswith("union_tag_"):
        steps.append(str(one["ctx"]["discriminator"]).strip("'"))
    return steps


def _real_steps(loc: Sequence[int | str], value: Any, *, is_missing: bool) -> list[int | str]:
    """Return the steps that exist in the value; others name alternatives of a union."""
    steps: list[int | str] = []
    for number, step in enumerate(loc):
        in_list = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if in_list or (isinstance(value, dict) and step in value):
            value = value[step]
        elif not (is_missing and number == len(loc) - 1):
            continue
        steps.append(step)
    return steps
