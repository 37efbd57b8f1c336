"""Wording of invalid settings and options, from the errors of pydantic."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

#: So much of what came is said again.
_SHOWN = 80
#: What each kind of mistake lacks; the kinds that are not here say it in their own sentence.
_EXPECTED = {
    "missing": "a value",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number with fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "dict_type": "an object",
    "model_type": "an object",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "json_invalid": "JSON",
}
_OWN_SENTENCE = re.compile(r"(?:(\w+): )?expected (.*), got (.*)", re.DOTALL)
_OPENING = re.compile(r"Value error, |(?:Input|String|\w+) should (?:be|have) ")


@dataclass(frozen=True, slots=True)
class WrongField:
    """One field: its name, with dots where it is nested, what was expected and what came."""

    name: str
    expected: str
    came: str

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, got {self.came}"


def wrong_fields(
    error: ValidationError, model: type[BaseModel], *, whole: str
) -> Iterator[WrongField]:
    """Yield what is wrong, in the order of the model.  whole: the name of all fields together."""
    for problem in error.errors(include_url=False):
        kind, place = problem["type"], problem["loc"]
        name = ".".join(map(str, place)) or whole
        if kind == "extra_forbidden":
            names = ", ".join(_names_beside(model, place))
            yield WrongField(name, f"one of the names {names}", "an unknown one")
            continue
        own = _OWN_SENTENCE.fullmatch(problem["msg"].removeprefix("Value error, "))
        if kind == "value_error" and own:
            inner = ".".join(filter(None, (".".join(map(str, place)), own[1]))) or whole
            yield WrongField(inner, own[2], own[3])
            continue
        came = "nothing" if kind == "missing" else shown(problem["input"])
        yield WrongField(name, _expected(kind, problem["msg"]), came)


def shown(value: object) -> str:
    """What came, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _expected(kind: str, sentence: str) -> str:
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    expected = _OPENING.sub("", sentence, count=1)
    if kind.startswith(("greater_than", "less_than")):
        return f"a value {expected}"
    if kind == "string_pattern_mismatch":
        return expected.replace("String should match pattern", "text that matches")
    return expected.partition(" after validation")[0]


def _names_beside(model: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    """The names of the object in which this place lies."""
    for part in place[:-1]:
        if isinstance(part, int):
            # One of a list, whose model is known from the list's own name.
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        below = _model_in(fields[part].annotation) if part in fields else None
        if below is None:
            return []
        model = below
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field that may also be None or be a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
