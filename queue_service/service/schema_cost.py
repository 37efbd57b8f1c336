"""A schema from a worker, without what would let it or an input cost too much.  Pure.

What is left has no reference to another document, no unknown keyword, and a known cost: how often
parts of it are evaluated for one value, by the depth of that value.  Recursion through an input is
fine; alternatives that recurse make the cost grow with the depth, and deep inputs are then left to
the worker.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from client_sdk.wire.schema_words import FORMATS

#: The pattern of a file in a schema, and the name of a reference to one that is stored.
DATA_URL, FILE_REFERENCE = "^[dD][aA][tT][aA]:", "$file"
#: The most parts of a schema, and the deepest nesting.
MAX_PARTS, MAX_DEPTH = 4000, 100
#: The most often that one schema may be evaluated for a single value without parts.
MAX_AT_ONCE = 2000
#: Depths of inputs whose costs are computed; beyond, a cost that still grows counts as infinite.
DEPTHS = 32
#: The number of options of an enum that cost as much as one evaluation.
OPTIONS_AT_ONCE = 20
#: The same of required names.
NAMES_AT_ONCE = 5
#: What counts as infinite.
ENDLESS = 1_000_000_000

_ONE = ("items", "additionalProperties", "propertyNames", "contains", "not")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs")
#: Those that look at the same value; all others look at its parts.
_SAME = ("anyOf", "oneOf", "allOf", "not")
_PLAIN = frozenset(
    [
        "type",
        "enum",
        "const",
        "required",
        "minItems",
        "maxItems",
        "minContains",
        "maxContains",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minProperties",
        "maxProperties",
        "pattern",
        "format",
    ]
)
_AS_TEXT = frozenset(("integer", "number", "boolean"))


class BadSchema(ValueError):
    """A schema that cannot be used, and why."""


def safe_copy(schema: Any, *, accepts_text: bool = False) -> dict[str, Any]:
    """Return the schema without what it may not have; raises BadSchema.

    accepts_text: a text is accepted in place of a number or of true and false.
    """
    copier = _Copier(accepts_text=accepts_text)
    copied = copier.copy(schema, depth=0)
    if not isinstance(copied, dict):
        raise BadSchema("expected an object as schema")
    for reference in copier.references:
        if target_of(copied, reference) is None:
            raise BadSchema(f"expected a reference to $defs of the schema, got {reference[:64]!r}")
    return copied


class _Copier:
    def __init__(self, *, accepts_text: bool) -> None:
        self.references: set[str] = set()
        self._parts = 0
        self._accepts_text = accepts_text

    def copy(self, schema: Any, *, depth: int) -> Any:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadSchema(f"expected a schema of at most {MAX_PARTS} parts")
        if depth > MAX_DEPTH:
            raise BadSchema(f"expected a schema nested at most {MAX_DEPTH} deep")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise BadSchema("expected an object or a boolean as part of a schema")
        copied = {name: value for name, value in schema.items() if name in _PLAIN}
        if isinstance(reference := schema.get("$ref"), str):
            self.references.add(reference)
            copied["$ref"] = reference
        for name in schema.keys() & set(_ONE):
            copied[name] = self.copy(schema[name], depth=depth + 1)
        for name in schema.keys() & set(_LISTS):
            copied[name] = [self.copy(one, depth=depth + 1) for one in _items(schema[name])]
        for name in schema.keys() & set(_MAPS):
            members = schema[name].items() if isinstance(schema[name], dict) else ()
            copied[name] = {key: self.copy(one, depth=depth + 1) for key, one in members}
        if copied.get("format") not in FORMATS:
            # The library defines some of them differently, and at another cost.
            copied.pop("format", None)
        if copied.get("pattern") == DATA_URL and copied.get("type") == "string":
            # A file may also be one that is stored already.
            copied |= {
                "type": ["string", "object"],
                "properties": {FILE_REFERENCE: {"type": "string"}},
                "required": [FILE_REFERENCE],
            }
        kind = copied.get("type")
        if self._accepts_text and isinstance(kind, str) and kind in _AS_TEXT:
            copied["type"] = [kind, "string"]
        return copied


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def target_of(schema: Mapping[str, Any], reference: str) -> Any:
    """Return the schema that a reference names: the whole, or a definition; None for others."""
    if reference == "#":
        return schema
    name = reference.removeprefix("#/$defs/")
    if name == reference:
        return None
    return schema.get("$defs", {}).get(name.replace("~1", "/").replace("~0", "~"))


def costs_of(schema: dict[str, Any]) -> list[int]:
    """Return how often parts of it are evaluated for one value, by the value's depth in an input.

    Raises BadSchema if it never ends, or is too much for a single value.
    """
    order = _from_inner_to_outer(schema)
    costs: list[int] = []
    before: dict[int, int] = {}
    for _ in range(DEPTHS):
        now: dict[int, int] = {}
        for part in order:
            below = _cost_of_parts(part, before) if costs else _cost_of_value(part)
            same = sum(now[id(one)] for one in _same(schema, part))
            now[id(part)] = min(ENDLESS, below + same)
        if not costs and max(now.values()) > MAX_AT_ONCE:
            raise BadSchema(f"expected at most {MAX_AT_ONCE} alternatives for one value")
        costs.append(now[id(schema)])
        if now == before:
            # The same at every further depth: mostly nothing.
            return costs + [costs[-1]] * (DEPTHS - len(costs))
        before = now
    return costs


def _cost_of_value(part: Any) -> int:
    if not isinstance(part, dict):
        return 1
    options, names = part.get("enum"), part.get("required")
    cost = 1 + len(options) // OPTIONS_AT_ONCE if isinstance(options, list) else 1
    return cost + len(names) // NAMES_AT_ONCE if isinstance(names, list) else cost


def _cost_of_parts(part: Any, before: Mapping[int, int]) -> int:
    """Return the cost for one part of a value: a name matches one property, and any pattern."""
    if not isinstance(part, dict):
        return 0
    one_of = [*part.get("properties", {}).values(), *part.get("prefixItems", [])]
    one_of += [part[name] for name in ("items", "additionalProperties") if name in part]
    all_of = [*part.get("patternProperties", {}).values()]
    all_of += [part[name] for name in ("contains",) if name in part]
    costs = [before[id(one)] for one in one_of]
    return min(ENDLESS, max(costs, default=0) + sum(before[id(one)] for one in all_of))


def _same(schema: dict[str, Any], part: Any) -> list[Any]:
    """Return the schemas that are evaluated for the same value."""
    if not isinstance(part, dict):
        return []
    found = [one for name in _SAME for one in _as_list(part.get(name))]
    if "$ref" in part:
        found.append(target_of(schema, part["$ref"]))
    return found


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _from_inner_to_outer(schema: dict[str, Any]) -> list[Any]:
    """Return all parts, each after those for the same value; raises BadSchema for a circle."""
    order: list[Any] = []
    state: dict[int, bool] = {}
    for start in _parts(schema):
        stack = [(start, False)]
        while stack:
            part, is_done = stack.pop()
            if is_done:
                state[id(part)] = True
                order.append(part)
            elif id(part) not in state:
                state[id(part)] = False
                stack.append((part, True))
                for one in _same(schema, part):
                    if state.get(id(one)) is False:
                        raise BadSchema("expected a schema without a circle of references")
                    stack.append((one, False))
            elif not state[id(part)]:
                continue
    return order


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    stack: list[Any] = [schema]
    while stack:
        part = stack.pop()
        yield part
        if isinstance(part, dict):
            stack += [part[name] for name in _ONE if name in part]
            stack += [one for name in _LISTS for one in part.get(name, [])]
            stack += [one for name in _MAPS for one in part.get(name, {}).values()]
