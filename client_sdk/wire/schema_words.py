"""What parts of a JSON Schema expect, in words: the same in workers and in the service.  Pure."""

from collections.abc import Sequence

#: Types of JSON.
KINDS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
#: Formats of texts that both check, with an example where the name does not say enough.
FORMATS = {
    "date-time": "a date and time such as 2026-11-29T08:30:00Z",
    "date": "a date such as 2026-11-29",
    "time": "a time such as 08:30:00",
    "duration": "a duration such as PT1M30S",
    "uuid": "a UUID",
    "decimal": "a decimal number",
    "fraction": "a fraction such as 1/3",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "uri": "a URL",
}
_BOUNDS = {
    "minimum": "a value of at least {}",
    "maximum": "a value of at most {}",
    "exclusiveMinimum": "a value above {}",
    "exclusiveMaximum": "a value below {}",
    "multipleOf": "a multiple of {}",
    "pattern": "a match of {!r}",
}
_COUNTS = {
    "minLength": "at least {} character",
    "maxLength": "at most {} character",
    "minItems": "at least {} value",
    "maxItems": "at most {} value",
    "minProperties": "at least {} member",
    "maxProperties": "at most {} member",
}
BOUNDS = frozenset((*_BOUNDS, *_COUNTS))
UNKNOWN_INPUT = "there is no such input"


def bound(keyword: str, limit: object) -> str:
    """Return what a bound of a schema expects, such as `at most 9 characters`."""
    if keyword in _COUNTS:
        return _COUNTS[keyword].format(limit) + ("" if limit == 1 else "s")
    if isinstance(limit, float) and limit.is_integer():
        limit = int(limit)
    return _BOUNDS[keyword].format(limit)


def alternatives(words: Sequence[str]) -> str:
    """Return `a, b or c`."""
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last
