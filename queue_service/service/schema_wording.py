"""Why an input does not match a schema, in words: the path, what was expected, what came.  Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from client_sdk.setting_names import did_you_mean
from client_sdk.wire.shown_json import MAX_PATH, pointer, shown
from queue_service.service.schema_cost import DATA_URL, target_of

#: The most errors that one refusal reports.
MAX_ERRORS = 20
_A_FILE = "a file as a data URL (data:image/png;base64,...)"
_NAMES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """One error of an input.  path: a JSON pointer; "" is the whole input."""

    path: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path or 'the input'}: {self.sentence}"


class Wording:
    """Describes the errors that the validator of one schema finds."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema

    def described(self, error: Any, at: str) -> list[Wrong]:
        """Return what is wrong.  at: the path of the value that was validated."""
        path = at + pointer(error.instance_path)
        kind, name = error.kind, error.kind.name
        if name == "required":
            return [Wrong(path + pointer([kind.property]), "expected a value, got nothing")]
        if name == "additionalProperties":
            return [self._unknown(path, one, error) for one in kind.unexpected[:MAX_ERRORS]]
        if name in ("anyOf", "oneOf") and (inner := self._likeliest(kind, error)) is not None:
            return [one for part in inner[:MAX_ERRORS] for one in self.described(part, at)]
        expected = self._expected(kind, name, error)
        return [Wrong(path, f"expected {expected}, got {shown(error.instance)}")]

    def _unknown(self, path: str, name: str, error: Any) -> Wrong:
        part = self._part_at(error.schema_path[:-1])
        known = list(part.get("properties", {})) if isinstance(part, dict) else []
        hint = did_you_mean(name, known)
        return Wrong((path + pointer([name]))[:MAX_PATH], f"there is no such input{hint}")

    def _likeliest(self, kind: Any, error: Any) -> list[Any] | None:
        """Return the errors of the alternative that was meant: the only one of the right type."""
        here = len(error.instance_path)
        alternatives = list(getattr(kind, "context", None) or ())
        fitting = [
            errors
            for errors in alternatives
            if not any(one.kind.name == "type" and len(one.instance_path) <= here for one in errors)
        ]
        return fitting[0] if len(fitting) == 1 and len(alternatives) > 1 else None

    def _expected(self, kind: Any, name: str, error: Any) -> str:
        if name == "type":
            is_file = self._is_file(error.schema_path[:-1])
            return _A_FILE if is_file else " or ".join(_NAMES.get(one, one) for one in kind.types)
        if name == "pattern":
            return _A_FILE if kind.pattern == DATA_URL else f"a match of {kind.pattern[:128]!r}"
        if name in ("anyOf", "oneOf"):
            return self._alternatives(error)
        if name in ("enum", "const"):
            return _one_of(kind.options if name == "enum" else [kind.expected_value])
        if name in _COMPARED:
            limit = kind.multiple_of if name == "multipleOf" else kind.limit
            return _COMPARED[name].format(limit)
        return "what the schema describes"

    def _is_file(self, steps: Sequence[Any]) -> bool:
        part = self._part_at(steps)
        return isinstance(part, dict) and part.get("pattern") == DATA_URL

    def _alternatives(self, error: Any) -> str:
        part = self._part_at(error.schema_path)
        words = [self._noun(one) for one in listed(part)]
        return " or ".join(dict.fromkeys(words)) or "what the schema describes"

    def _noun(self, part: Any) -> str:
        if isinstance(part, dict) and "$ref" in part:
            part = target_of(self._schema, part["$ref"])
        if not isinstance(part, dict):
            return "another value"
        if part.get("pattern") == DATA_URL:
            return _A_FILE
        if "enum" in part or "const" in part:
            return _one_of(listed(part.get("enum")) or [part.get("const")])
        kinds = part.get("type", "object")
        return " or ".join(
            _NAMES.get(one, one) for one in ([kinds] if isinstance(kinds, str) else kinds)
        )

    def _part_at(self, steps: Sequence[Any]) -> Any:
        part: Any = self._schema
        for step in steps:
            while isinstance(part, dict) and "$ref" in part and step != "$ref":
                part = target_of(self._schema, part["$ref"])
            if step == "$ref":
                part = target_of(self._schema, part["$ref"]) if isinstance(part, dict) else None
                continue
            try:
                part = part[step]
            except (KeyError, IndexError, TypeError):
                return None
        return part


_COMPARED = {
    "minimum": "a value of at least {}",
    "maximum": "a value of at most {}",
    "exclusiveMinimum": "a value above {}",
    "exclusiveMaximum": "a value below {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} values",
    "maxItems": "at most {} values",
    "minProperties": "at least {} members",
    "maxProperties": "at most {} members",
    "multipleOf": "a multiple of {}",
}


def _one_of(values: Sequence[Any]) -> str:
    some = ", ".join(shown(one) for one in values[:MAX_ERRORS])
    return (
        f"one of {some}{', ...' if len(values) > MAX_ERRORS else ''}" if len(values) > 1 else some
    )


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and none for anything else."""
    return value if isinstance(value, list) else []
