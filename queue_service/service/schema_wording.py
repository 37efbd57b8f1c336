"""Why an input does not match a schema, in words: the path, what was expected, what came.  Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from client_sdk.setting_names import did_you_mean
from client_sdk.wire.schema_words import (
    BOUNDS,
    FORMATS,
    KINDS,
    UNKNOWN_INPUT,
    alternatives,
    bound,
)
from client_sdk.wire.shown_json import MAX_PATH, pointer, shown
from queue_service.service.schema_cost import DATA_URL, target_of

#: The most errors that one refusal reports.
MAX_ERRORS = 20
#: The longest pattern that an error shows.
MAX_PATTERN = 128
_A_FILE = "a file as a data URL (data:image/png;base64,...)"


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
        if name == "propertyNames":
            inner = kind.error
            expected = self._expected(inner.kind, inner.kind.name, inner)
            path += pointer([inner.instance])
            return [Wrong(path[:MAX_PATH], f"expected {expected}, got {shown(inner.instance)}")]
        if name in ("anyOf", "oneOf"):
            fitting = _of_right_type(kind, error)
            if (meant := _meant(fitting)) is not None:
                return [one for part in meant[:MAX_ERRORS] for one in self.described(part, at)]
            if tags := _tags(fitting):
                words = [self._expected(one.kind, one.kind.name, one) for one in tags]
                path, came = at + pointer(tags[0].instance_path), shown(tags[0].instance)
                return [Wrong(path, f"expected {alternatives(words)}, got {came}")]
        expected = self._expected(kind, name, error)
        return [Wrong(path, f"expected {expected}, got {shown(error.instance)}")]

    def _unknown(self, path: str, name: str, error: Any) -> Wrong:
        part = self._part_at(error.schema_path[:-1])
        known = list(part.get("properties", {})) if isinstance(part, dict) else []
        hint = did_you_mean(name, known)
        return Wrong((path + pointer([name]))[:MAX_PATH], f"{UNKNOWN_INPUT}{hint}")

    def _expected(self, kind: Any, name: str, error: Any) -> str:
        match name:
            case "type" | "pattern" if self._is_file(error.schema_path[:-1]):
                return _A_FILE
            case "type":
                return alternatives([KINDS.get(one, one) for one in kind.types])
            case "anyOf" | "oneOf":
                return self._alternatives(error)
            case "enum" | "const":
                return _one_of(kind.options if name == "enum" else [kind.expected_value])
            case "format" if kind.format in FORMATS:
                return FORMATS[kind.format]
        return bound(name, _limit_of(kind, name)) if name in BOUNDS else "what the schema describes"

    def _is_file(self, steps: Sequence[Any]) -> bool:
        part = self._part_at(steps)
        return isinstance(part, dict) and part.get("pattern") == DATA_URL

    def _alternatives(self, error: Any) -> str:
        part = self._part_at(error.schema_path)
        words = [self._noun(one) for one in listed(part)]
        return alternatives(words) if words else "what the schema describes"

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
        return alternatives(
            [KINDS.get(one, one) for one in ([kinds] if isinstance(kinds, str) else kinds)]
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


def _limit_of(kind: Any, name: str) -> Any:
    if name == "pattern":
        return kind.pattern[:MAX_PATTERN]
    return kind.multiple_of if name == "multipleOf" else kind.limit


def _of_right_type(kind: Any, error: Any) -> list[list[Any]]:
    """Return the errors of each alternative whose type fits; none if there is no choice."""
    here = len(error.instance_path)
    every = list(getattr(kind, "context", None) or ())
    if len(every) < 2:
        return []
    return [
        errors
        for errors in every
        if not any(one.kind.name == "type" and len(one.instance_path) <= here for one in errors)
    ]


def _meant(fitting: list[list[Any]]) -> list[Any] | None:
    """Return the errors of the alternative that was meant: the only one, or that with the tag."""
    if len(fitting) > 1:
        fitting = [errors for errors in fitting if _tag_of(errors) is None]
    if len(fitting) > 1 and all(len(one) == 1 and _missing(one[0]) for one in fitting):
        names = {_missing(one[0]) for one in fitting}
        return fitting[0] if len(names) == 1 else None
    return fitting[0] if len(fitting) == 1 else None


def _tags(fitting: list[list[Any]]) -> list[Any]:
    """Return the error of each alternative's tag, if all have one in the same place."""
    found = [_tag_of(errors) for errors in fitting]
    paths = {tuple(one.instance_path) if one else () for one in found}
    return found if len(paths) == 1 and () not in paths else []


def _tag_of(errors: list[Any]) -> Any:
    """Return the error of a member that has one value, such as `kind: Literal["cat"]`."""
    return next((one for one in errors if one.kind.name == "const" and one.instance_path), None)


def _missing(error: Any) -> tuple[Any, ...] | None:
    is_missing = error.kind.name == "required"
    return (*error.instance_path, error.kind.property) if is_missing else None


def _one_of(values: Sequence[Any]) -> str:
    some = [shown(one) for one in values[:MAX_ERRORS]]
    return ", ".join([*some, "..."]) if len(values) > MAX_ERRORS else alternatives(some)


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and none for anything else."""
    return value if isinstance(value, list) else []
