"""From the JSON of a job to the arguments of a Cog predictor, by their annotations.

Files are data URLs, at any depth, and never paths or addresses: those would let every client read
files of this machine and of its network.
"""

import dataclasses
import inspect
import io
import os
import pathlib
import re
import tempfile
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from inference_worker.engines import cog_sdk, data_url
from inference_worker.engines.arguments import JSON
from inference_worker.engines.cog_sdk import MISSING, FieldInfo
from inference_worker.engines.engine import Job
from inference_worker.engines.failures import BadInput
from inference_worker.engines.file_kinds import FILE_PREFIX
from inference_worker.engines.payload import read_json
from inference_worker.engines.typed_values import (
    ANYTHING,
    CannotDescribe,
    Value,
    schemas_of,
    value_of,
    with_definitions,
)

#: The fields of a request to Cog's server besides `input`.
_REQUEST_FIELDS = frozenset(
    {"id", "created_at", "context", "output_file_prefix", "webhook", "webhook_events_filter"}
)
_UNIONS = (Union, types.UnionType)
_OPEN_FILES = (typing.IO, typing.BinaryIO, typing.TextIO)


@dataclass(slots=True)
class Inputs:
    """The arguments of one call.  context: of the request.  files: to remove afterwards."""

    values: dict[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] | None = None
    files: list[pathlib.Path] = field(default_factory=list)

    def remove_files(self) -> None:
        """Remove the files that were written for this call."""
        for file in self.files:
            file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    hint: Any
    field: FieldInfo

    @property
    def default(self) -> Any:
        default = self.field.default
        if default is MISSING:
            return None if _may_be_none(self.hint) else MISSING
        is_path = isinstance(default, str) and _is_kind(_without_none(self.hint), os.PathLike)
        return cog_sdk.Path(default) if is_path else default


def _parameters_of(call: Callable[..., Any]) -> tuple[dict[str, _Parameter], bool]:
    """Return the parameters by name, and whether any other name is accepted too."""
    hints = get_type_hints(call, include_extras=True)
    takes_any = False
    parameters: dict[str, _Parameter] = {}
    for name, parameter in inspect.signature(call).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            default = parameter.default
            info = default if isinstance(default, FieldInfo) else FieldInfo(default)
            parameters[name] = _Parameter(name, hints.get(name, Any), info)
    return parameters, takes_any


def described_inputs(call: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON Schema of the inputs, for the queue service (see interface.py)."""
    parameters, takes_any = _parameters_of(call)
    values = {name: _described_value(one.hint) for name, one in parameters.items()}
    found, shared = schemas_of(values)
    schema = {
        "type": "object",
        "properties": {name: _with_rules(found[name], one) for name, one in parameters.items()},
        "required": [name for name, one in parameters.items() if one.default is MISSING],
        "additionalProperties": takes_any,
    }
    described: dict[str, Any] = {
        "content_types": [JSON],
        "schema": with_definitions(schema, shared),
    }
    # As in Cog, "3" is a number too.
    described["accepts_text"] = True
    return (
        described
        if "input" in parameters
        else {
            **described,
            "envelope": "input",
            "envelope_fields": sorted(_REQUEST_FIELDS),
        }
    )


def _described_value(hint: Any) -> Value:
    try:
        return value_of(hint)
    except CannotDescribe:
        return ANYTHING


def _with_rules(schema: dict[str, Any], parameter: _Parameter) -> dict[str, Any]:
    rules, default = parameter.field, parameter.default
    limits: dict[str, Any] = {
        "minimum": rules.ge,
        "maximum": rules.le,
        "minLength": rules.min_length,
        "maxLength": rules.max_length,
        "pattern": None if rules.regex is None else f"^(?:{rules.regex})",
        "enum": rules.choices,
    }
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    if schema.get("type") == "array":
        schema = {**schema, "items": {**schema.get("items", {}), **limits}}
    else:
        schema = {**schema, **limits}
    if default is None and not _may_be_none(parameter.hint):
        schema = {"anyOf": [schema, {"type": "null"}]}
    about: dict[str, Any] = {"description": rules.description, "deprecated": rules.deprecated}
    if default is None or type(default) in (str, int, float, bool):
        schema = {**schema, "default": default}
    return {**schema, **{name: one for name, one in about.items() if one is not None}}


def reader_of(call: Callable[..., Any]) -> Callable[[Job], Inputs]:
    """Return a function that reads the arguments of `call` from a job."""
    parameters, takes_any = _parameters_of(call)

    def read(job: Job) -> Inputs:
        body = read_json(job.data) if job.data.strip() else {}
        is_wrapped = _is_wrapped(body, parameters)
        given = body.get("input", {}) if is_wrapped else body
        if not isinstance(given, dict):
            raise BadInput(f"expected inputs by name, got {type(given).__name__}")
        unknown = sorted(set(given) - set(parameters))
        if unknown and not takes_any:
            raise BadInput(f"no such input: {', '.join(unknown)}")
        context = body.get("context") if is_wrapped else None
        inputs = Inputs(context=context if isinstance(context, dict) else None)
        try:
            for name, parameter in parameters.items():
                inputs.values[name] = _value_of(parameter, given, inputs)
        except BaseException:
            inputs.remove_files()
            raise
        inputs.values.update({name: given[name] for name in unknown})
        return inputs

    return read


def _is_wrapped(body: Any, parameters: Collection[str]) -> bool:
    """Return whether a body is a request to Cog's server; without inputs it may lack `input`."""
    if not isinstance(body, dict) or "input" in parameters:
        return False
    return "input" in body or (
        bool(body) and body.keys() <= _REQUEST_FIELDS and body.keys().isdisjoint(parameters)
    )


def _value_of(parameter: _Parameter, given: Mapping[str, Any], inputs: Inputs) -> Any:
    name, default = parameter.name, parameter.default
    if name not in given:
        if default is MISSING:
            raise BadInput(f"the input {name} is missing")
        return default
    value = given[name]
    if value is None and (default is None or _may_be_none(parameter.hint)):
        return None
    try:
        value = _Reader(inputs).read(value, parameter.hint)
    except data_url.NoDataURL as error:
        raise BadInput(f"the input {name} {error}") from error
    except ValidationError as error:
        raise BadInput(f"the input {name}: {error.errors()[0]['msg']}") from error
    except _Misfit as error:
        raise BadInput(f"the input {name}: {error}") from error
    for one in value if isinstance(value, list) else [value]:
        _check(name, one, parameter.field)
    return value


def _check(name: str, value: Any, rules: FieldInfo) -> None:
    if value is None:
        return
    if rules.ge is not None and value < rules.ge:
        raise BadInput(f"the input {name} is below {rules.ge:g}")
    if rules.le is not None and value > rules.le:
        raise BadInput(f"the input {name} is above {rules.le:g}")
    if rules.choices is not None and value not in rules.choices:
        raise BadInput(f"the input {name} is none of {rules.choices}")
    if rules.min_length is not None and len(value) < rules.min_length:
        raise BadInput(f"the input {name} is shorter than {rules.min_length}")
    if rules.max_length is not None and len(value) > rules.max_length:
        raise BadInput(f"the input {name} is longer than {rules.max_length}")
    if rules.regex is not None and not re.match(rules.regex, str(value)):
        raise BadInput(f"the input {name} does not match {rules.regex}")


class _Misfit(ValueError):
    """A value does not fit its annotation."""


class _Reader:
    """Converts JSON to the types of annotations; writes files, and lists them in `inputs`."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def read(self, value: Any, hint: Any) -> Any:
        hint = _plain(hint)
        if not _has_own_kind(hint):
            config = ConfigDict(arbitrary_types_allowed=True) if _fields_of(hint) is None else None
            return TypeAdapter(hint, config=config).validate_python(value)
        if _is_kind(hint, os.PathLike):
            return self._file(value)
        if _is_kind(hint, io.IOBase) or hint in _OPEN_FILES or get_origin(hint) in _OPEN_FILES:
            return io.BytesIO(data_url.decode(value).data)
        if _is_kind(hint, cog_sdk.Secret):
            return cog_sdk.Secret(TypeAdapter(str).validate_python(value))
        return self._compound(value, hint)

    def _compound(self, value: Any, hint: Any) -> Any:
        origin, arguments = get_origin(hint) or hint, get_args(hint)
        if origin in _UNIONS:
            return self._one_of(value, [one for one in arguments if one is not type(None)])
        if fields := _fields_of(hint):
            if not isinstance(value, dict):
                raise _Misfit(f"expected an object, got {type(value).__name__}")
            read = {
                name: self.read(one, fields[name]) if name in fields else one
                for name, one in value.items()
            }
            if not is_typeddict(hint):
                return TypeAdapter(hint).validate_python(read)
            # pydantic supports TypedDicts of `typing` only from Python 3.12 on.
            if missing := sorted(hint.__required_keys__ - read.keys()):
                raise _Misfit(f"expected {', '.join(missing)} in it")
            return read
        if issubclass(origin, Mapping):
            if not isinstance(value, dict):
                raise _Misfit(f"expected an object, got {type(value).__name__}")
            return {name: self.read(one, arguments[-1]) for name, one in value.items()}
        if not isinstance(value, list):
            raise _Misfit(f"expected a list, got {type(value).__name__}")
        if origin is tuple and arguments[-1] is not Ellipsis and len(arguments) != len(value):
            raise _Misfit(f"expected {len(arguments)} values, got {len(value)}")
        is_fixed = origin is tuple and arguments[-1] is not Ellipsis
        kinds = arguments if is_fixed else (arguments[0],) * len(value)
        items = [self.read(one, kind) for one, kind in zip(value, kinds, strict=True)]
        return origin(items) if origin in (tuple, set, frozenset) else items

    def _one_of(self, value: Any, hints: list[Any]) -> Any:
        if value is None:
            return None
        # Try each alternative: a text is a file only if it is a data URL.
        failure: ValueError = _Misfit("fits nothing that is expected")
        for hint in hints:
            try:
                return self.read(value, hint)
            except ValueError as error:
                failure = error
        raise failure

    def _file(self, value: Any) -> pathlib.Path:
        file = data_url.decode(value)
        with tempfile.NamedTemporaryFile(
            prefix=FILE_PREFIX, suffix=file.suffix, delete=False
        ) as written:
            path = cog_sdk.Path(written.name)
            self._inputs.files.append(path)
            written.write(file.data)
        return path


def _plain(hint: Any) -> Any:
    while hasattr(hint, "__supertype__"):  # typing.NewType
        hint = hint.__supertype__
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        is_opaque = any(mark is cog_sdk.Opaque for mark in marks)
        return Any if is_opaque else _plain(inner)
    if get_origin(hint) in (typing.Required, typing.NotRequired):
        return _plain(get_args(hint)[0])
    return Any if hint is inspect.Parameter.empty else hint


def _without_none(hint: Any) -> Any:
    hint = _plain(hint)
    if get_origin(hint) not in _UNIONS:
        return hint
    others = [one for one in get_args(hint) if one is not type(None)]
    return _plain(others[0]) if len(others) == 1 else hint


def _may_be_none(hint: Any) -> bool:
    hint = _plain(hint)
    return hint is None or (get_origin(hint) in _UNIONS and type(None) in get_args(hint))


def _is_kind(hint: Any, kind: type) -> bool:
    return isinstance(hint, type) and issubclass(hint, kind)


def _has_own_kind(hint: Any, seen: Collection[Any] = ()) -> bool:
    """Return whether an annotation has a file or a secret anywhere."""
    hint = _plain(hint)
    if any(hint is one for one in seen):
        return False
    if hint in _OPEN_FILES or get_origin(hint) in _OPEN_FILES:
        return True
    if any(_is_kind(hint, kind) for kind in (os.PathLike, io.IOBase, cog_sdk.Secret)):
        return True
    if is_typeddict(hint):
        return True
    inner = [*get_args(hint), *(_fields_of(hint) or {}).values()]
    return any(_has_own_kind(one, (*seen, hint)) for one in inner if one is not Ellipsis)


def _fields_of(hint: Any) -> dict[str, Any] | None:
    """Return the fields of a model, a dataclass or a TypedDict; None for other classes."""
    if not isinstance(hint, type):
        return None
    if issubclass(hint, BaseModel) or dataclasses.is_dataclass(hint) or is_typeddict(hint):
        return get_type_hints(hint, include_extras=True)
    return None
