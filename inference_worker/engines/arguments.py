"""The inputs of a handler, from the annotations of its parameters.

One parameter      its value is the whole payload
several, or `*`    the payload is a JSON object with a value for each, by name

A payload that is no object is the value of the only parameter without a default, as it always was;
so is a file's content.
"""

import enum
import functools
import inspect
import json
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args, get_origin

from client_sdk.setting_names import did_you_mean
from client_sdk.wire import media
from client_sdk.wire.shown_json import pointer, shown
from inference_worker.engines import openai_requests
from inference_worker.engines.engine import Job
from inference_worker.engines.failures import BadInput
from inference_worker.engines.file_kinds import Received, is_data_url, is_file
from inference_worker.engines.handler_files import BYTES, File
from inference_worker.engines.job_content import json_of, with_files_of
from inference_worker.engines.parameters import annotation_of, is_context, value_or_none
from inference_worker.engines.payload import read_json, read_text
from inference_worker.engines.typed_values import Value, schemas_of, with_definitions

JSON = "application/json"
TEXT = "text/plain"
_EMPTY = inspect.Parameter.empty


@dataclass(slots=True)
class Arguments:
    """What one call receives.

    values: by name, or the only one.  received: files to remove afterwards.
    """

    values: Any
    received: Received = field(default_factory=Received)


@dataclass(frozen=True, slots=True)
class Typed:
    """How a handler's inputs are read.

    read: from a job; raises BadInput.  described: for the queue service, see `interface`.
    is_by_name: the values are keyword arguments.  takes_path: whether a payload that is a file, and
    no JSON, is read as its path.
    """

    read: Callable[[Job], Arguments]
    described: dict[str, Any]
    is_by_name: bool = False
    takes_path: bool = False


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    value: Value
    hint: Any
    default: Any

    @property
    def is_required(self) -> bool:
        return self.default is _EMPTY


def typed_inputs(function: Callable[..., Any], *, is_batch: bool = False) -> Typed | None:
    """Return how the inputs are read; None if the annotations leave that to `payload`."""
    parameters = _inputs_of(function)
    if not parameters:
        return None
    if is_batch:
        return _item(_plain(parameters[0].hint))
    first, *others = parameters
    is_keyword = _kind_of(function, first.name) is inspect.Parameter.KEYWORD_ONLY
    if not others and not is_keyword:
        return _file(first) if first.value.file else _whole(first)
    if is_keyword or any(one.is_required for one in others):
        return _by_name(parameters, None)
    raw = _raw_reader(first)
    # An object may be the value of the first one, as it was before the others had annotations.
    return _whole(first) if raw is None else _by_name(parameters, raw)


def _item(listed: Any) -> Typed | None:
    """Return how one input of predict_batch is read; its annotation is a list of them."""
    items = get_args(listed)
    value = value_or_none(items[0]) if items else None
    if value is None:
        return None
    parameter = _Parameter("input", value, items[0], _EMPTY)
    if not value.file:
        return _whole(parameter)
    typed = _file(parameter)

    def read(job: Job) -> Arguments:
        assert typed is not None, "a file is read by name"
        arguments = typed.read(job)
        return Arguments(arguments.values[parameter.name], arguments.received)

    return typed and Typed(read, typed.described)


def _inputs_of(function: Callable[..., Any]) -> list[_Parameter]:
    """Return the parameters that jobs fill; none if the annotations do not say so."""
    found: list[_Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        hint = annotation_of(function, parameter)
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if is_context(name, hint):
            continue
        may_be_context = bool(found) and hint in (Any, object) and parameter.default is _EMPTY
        can_be_named = not found or parameter.kind is not parameter.POSITIONAL_ONLY
        is_typed = hint is not _EMPTY and can_be_named and not may_be_context
        value = value_or_none(hint) if is_typed else None
        if value is None and parameter.default is not _EMPTY and found:
            # An option of the user's own, without an annotation.
            continue
        if value is None:
            # The first one is the payload, the second is the context.
            return found[:1]
        found.append(_Parameter(name, value, hint, parameter.default))
    return found


def _kind_of(function: Callable[..., Any], name: str) -> Any:
    return inspect.signature(function).parameters[name].kind


def _plain(hint: Any) -> Any:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def _schema_of(parameter: _Parameter) -> dict[str, Any]:
    found, shared = schemas_of({"": parameter.value})
    return with_definitions(found[""], shared)


# --- One input


def _whole(parameter: _Parameter) -> Typed | None:
    """The payload is the value: text, or JSON; None if it is bytes or anything."""
    plain = _plain(parameter.hint)
    if plain in (bytes, Any, object):
        return None
    if plain is str:

        def read_line(job: Job) -> Arguments:
            received = Received()
            if job.path in media.PATHS:
                return Arguments(_only_field(parameter, job, received), received)
            return Arguments(parameter.value.read(read_text(job.data), received), received)

        return Typed(read_line, {"content_types": [TEXT], "schema": _schema_of(parameter)})

    def read(job: Job) -> Arguments:
        return _kept(lambda received: parameter.value.read(json_of(job), received))

    return Typed(read, {"content_types": [JSON], "schema": _schema_of(parameter)})


def _file(parameter: _Parameter) -> Typed | None:
    """The payload is the file; or an object with the file, or a text that is its data URL."""
    kind = parameter.value.file
    if kind is None or _plain(parameter.hint) is bytes:
        return None
    return _by_name([parameter], functools.partial(_read_file, parameter))


def _read_file(parameter: _Parameter, job: Job, received: Received) -> Any:
    if job.payload_path:
        return parameter.value.read(pathlib.Path(job.payload_path), received)
    value: Any = File(job.data, job.content_type.partition(";")[0].strip().lower() or BYTES)
    if job.data[:1] == b'"' and is_data_url(text := _json_or_none(job.data)):
        value = text
    return parameter.value.read(value, received)


def _json_or_none(data: bytes) -> Any:
    try:
        return read_json(data)
    except BadInput:
        return None


def _kept(make: Callable[[Received], Any]) -> Arguments:
    """Return what is made; its files are removed if that fails."""
    received = Received()
    try:
        return Arguments(make(received), received)
    except BaseException:
        received.remove()
        raise


# --- Several inputs


def _raw_reader(first: _Parameter) -> Callable[[Job, Received], Any] | None:
    """Return how a payload that is no object becomes the first value; None if objects do too."""
    plain = _plain(first.hint)
    if plain is str:
        return lambda job, received: first.value.read(read_text(job.data), received)
    if plain is bytes:
        return lambda job, received: job.data
    if first.value.file:
        return functools.partial(_read_file, first)
    schema = _schema_of(first)
    is_plain = schema.get("type") in ("array", "boolean", "integer", "number", "null")
    if not is_plain:
        return None
    return lambda job, received: first.value.read(json_of(job), received)


def _by_name(parameters: list[_Parameter], raw: Callable[[Job, Received], Any] | None) -> Typed:
    named = {one.name: one for one in parameters}
    first = parameters[0]

    def read(job: Job) -> Arguments:
        if job.path in media.PATHS:
            fields = _fields_of(job, named)
            return _kept(lambda received: read_by_name(named, fields, received, is_loose=True))
        # A payload that is a path is no object (see `takes_path`).
        given = None if job.payload_path else _object_of(job, first, has_raw=raw is not None)
        if given is None and raw is not None:
            return _kept(lambda received: {first.name: raw(job, received)})
        return _kept(lambda received: read_by_name(named, given, received))

    described: dict[str, Any] = {"content_types": [JSON], "schema": by_name_schema(named)}
    if raw is not None:
        described["content_types"].append(_raw_type(first))
    is_path = first.value.file is not None and first.value.file.is_path
    return Typed(read, described, is_by_name=True, takes_path=raw is not None and is_path)


def _only_field(parameter: _Parameter, job: Job, received: Received) -> Any:
    """Return the main field of a media request, for a handler that takes one text."""
    named = {parameter.name: parameter}
    fields = _fields_of(job, named)
    return read_by_name(named, fields, received, is_loose=True)[parameter.name]


def _fields_of(job: Job, named: Mapping[str, _Parameter]) -> dict[str, Any]:
    given = json_of(job)
    if not isinstance(given, dict):
        raise BadInput(f"the input: expected an object, got {shown(given)}")
    fields = media.fitted(job.path, given, named)
    wanted = fields.get("response_format")
    if job.path == media.MediaPath.SPEECH and wanted and "response_format" not in named:
        made = " or ".join(media.WAVE_FORMATS)
        raise BadInput(f"response_format: expected {made}, which this engine makes, got {wanted!r}")
    return fields


def read_by_name(
    named: Mapping[str, _Parameter], given: Any, received: Received, *, is_loose: bool = False
) -> dict[str, Any]:
    """Read a value for each name; raises BadInput with all that is wrong.

    is_loose: the values may come from a form, where numbers and single items of lists are texts.
    """
    if not isinstance(given, dict):
        raise BadInput(f"the input: expected an object with {', '.join(named)}, got {shown(given)}")
    wrong: list[str] = []
    values: dict[str, Any] = {}
    for name in given:
        if name not in named:
            hint = did_you_mean(name, named) or f"; it knows {', '.join(named)}"
            wrong.append(f"{pointer([str(name)[:64]])}: there is no such input{hint}")
    for name, one in named.items():
        if name in given:
            try:
                read = _read_loosely if is_loose else Value.read
                values[name] = read(one.value, given[name], received, at=pointer([name]))
            except BadInput as error:
                wrong.append(str(error))
        elif one.is_required:
            wrong.append(f"{pointer([name])}: expected a value, got nothing")
    if wrong:
        raise BadInput("; ".join(wrong[:20]))
    return values


def _read_loosely(value: Value, given: Any, received: Received, *, at: str) -> Any:
    try:
        return value.read(given, received, at=at)
    except BadInput:
        for other in _other_readings(given):
            try:
                return value.read(other, received, at=at)
            except BadInput:
                continue
        raise


def _other_readings(given: Any) -> list[Any]:
    """Return what else a value of a form may mean."""
    if isinstance(given, list):
        return given if len(given) == 1 else []
    parsed = _json_or_none(given.encode(errors="replace")) if isinstance(given, str) else None
    return [[given]] if parsed is None else [parsed, [given]]


def by_name_schema(named: Mapping[str, _Parameter]) -> dict[str, Any]:
    """Return the schema of an object with these inputs."""
    found, shared = schemas_of({name: one.value for name, one in named.items()})
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: _with_default(found[name], one.default) for name, one in named.items()
        },
        "required": [name for name, one in named.items() if one.is_required],
        "additionalProperties": False,
    }
    return with_definitions(schema, shared)


def _with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    if isinstance(default, enum.Enum):
        default = default.value
    plain: tuple[type, ...] = (str, int, float, bool, list, dict, type(None))
    if not isinstance(default, plain):
        return schema
    try:
        return {**schema, "default": json.loads(json.dumps(default, allow_nan=False))}
    except (TypeError, ValueError):
        return schema


def _object_of(job: Job, first: _Parameter, *, has_raw: bool) -> Any:
    """Return the object of a job; None if its payload is the value of the first input."""
    if not job.data.strip() and not (has_raw and first.is_required):
        return {}
    if not has_raw:
        return json_of(job)
    is_chat = job.path in openai_requests.TEXT and _plain(first.hint) is str
    if is_chat or job.data.lstrip()[:1] != b"{":
        return None
    if job.content_type.partition(";")[0].strip().lower() == JSON:
        return json_of(job)
    given = with_files_of(job, _json_or_none(job.data))
    # The content of a file may be an object too.
    if isinstance(given, dict) and first.value.file and not is_file(given.get(first.name)):
        return None
    return given


def _raw_type(first: _Parameter) -> str:
    if first.value.file:
        return first.value.file.media_type or BYTES
    return TEXT if _plain(first.hint) is str else JSON
