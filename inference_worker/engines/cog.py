"""The shape of Cog: a class with `setup` and `predict(**inputs)`, or `run(**inputs)`.

The file moves over unchanged: `import cog` finds what is below.  The payload is JSON, the inputs
by name or `{"input": ...}` as Cog's own server takes it; files come as data URLs.
"""

import base64
import inspect
import pathlib
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from inference_worker.engines.engine import Context, Finished, Job
from inference_worker.engines.failures import BadInput
from inference_worker.engines.locate import find, wants_context
from inference_worker.engines.payload import read_json, to_bytes
from inference_worker.engines.shape import Shape
from inference_worker.errors import BadEngine

#: The files that inputs are written to, and that are removed with their jobs.
_FILE_PREFIX = "penstock-input-"

_MISSING = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class _Input:
    default: Any
    ge: float | None
    le: float | None
    choices: list[Any] | None
    is_file: bool = False


def Input(
    default: Any = _MISSING,
    *,
    description: str = "",
    ge: float | None = None,
    le: float | None = None,
    choices: list[Any] | None = None,
    **others: Any,
) -> Any:
    """Stand for `cog.Input`: the default of a parameter, and the bounds of its values."""
    return _Input(default, ge, le, choices)


class BasePredictor:
    """What `cog.BasePredictor` is to a class that derives from it."""


def cog_shape(target: str) -> Shape:
    """Return the shape of a predictor class `module:Class`, with the instance made."""
    _install()
    predictor = find(target)()
    call = getattr(predictor, "run", None) or getattr(predictor, "predict", None)
    if not callable(call):
        raise BadEngine(f"a method run or predict in {target}", "a class without one")
    setup = getattr(predictor, "setup", None)
    read = _reader_of(call)
    return Shape(
        read=read,
        predict=lambda inputs, context: call(**inputs),
        write=lambda output: Finished(_to_bytes(output)),
        piece=lambda output: _to_bytes(output) if isinstance(output, pathlib.Path) else output,
        forget=_remove_files,
        is_async=inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call),
        setup=None if setup is None else _setup_of(setup),
        concurrency=1,
    )


def _install() -> None:
    cog = types.ModuleType("cog", __doc__)
    vars(cog).update(
        BasePredictor=BasePredictor,
        BaseRunner=BasePredictor,
        Input=Input,
        Path=pathlib.Path,
        ConcatenateIterator=_AnyOf,
        AsyncConcatenateIterator=_AnyOf,
    )
    sys.modules["cog"] = cog


class _AnyOf:
    """Stand for annotations that are subscripted and say nothing here."""

    def __class_getitem__(cls, item: Any) -> Any:
        return cls


def _setup_of(setup: Callable[..., Any]) -> Callable[[Context], Any]:
    # Cog may pass the path of a model's weights, of which there are none here.
    if wants_context(setup, after=0):
        return lambda context: setup(None)
    return lambda context: setup()


def _reader_of(call: Callable[..., Any]) -> Callable[[Job], dict[str, Any]]:
    hints = get_type_hints(call)
    adapters: dict[str, tuple[_Input, TypeAdapter[Any]]] = {}
    for name, parameter in inspect.signature(call).parameters.items():
        told = parameter.default
        told = told if isinstance(told, _Input) else _Input(told, None, None, None)
        hint = hints.get(name, Any)
        if "Path" in str(hint):
            told = replace(told, is_file=True)
        adapters[name] = told, TypeAdapter(hint)

    def read(job: Job) -> dict[str, Any]:
        body = read_json(job.data)
        given = body.get("input", body) if isinstance(body, dict) else body
        if not isinstance(given, dict):
            raise BadInput(f"expected inputs by name, got {type(given).__name__}")
        if unknown := set(given) - set(adapters):
            raise BadInput(f"no such input: {', '.join(sorted(unknown))}")
        inputs: dict[str, Any] = {}
        try:
            for name, (told, adapter) in adapters.items():
                inputs[name] = (
                    _checked(name, given[name], told, adapter)
                    if name in given
                    else _default(name, told)
                )
        except BadInput:
            _remove_files(inputs)
            raise
        return inputs

    return read


def _default(name: str, told: _Input) -> Any:
    if told.default is _MISSING:
        raise BadInput(f"the input {name} is missing")
    return told.default


def _checked(name: str, value: Any, told: _Input, adapter: TypeAdapter[Any]) -> Any:
    if told.is_file:
        # Never a path as it was sent: that would show any file of this machine to anybody.
        return _file_of(name, value)
    try:
        value = adapter.validate_python(value)
    except ValidationError as error:
        raise BadInput(f"the input {name}: {error.errors()[0]['msg']}") from error
    if told.ge is not None and value < told.ge:
        raise BadInput(f"the input {name} is below {told.ge:g}")
    if told.le is not None and value > told.le:
        raise BadInput(f"the input {name} is above {told.le:g}")
    if told.choices is not None and value not in told.choices:
        raise BadInput(f"the input {name} is none of {told.choices}")
    return value


def _file_of(name: str, url: object) -> pathlib.Path:
    head, _, encoded = str(url).partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise BadInput(f"the input {name} is no data URL with base64")
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise BadInput(f"the input {name} is not base64") from error
    with tempfile.NamedTemporaryFile(prefix=_FILE_PREFIX, delete=False) as file:
        file.write(data)
    return pathlib.Path(file.name)


def _remove_files(inputs: dict[str, Any] | None) -> None:
    for value in (inputs or {}).values():
        if isinstance(value, pathlib.Path) and value.name.startswith(_FILE_PREFIX):
            value.unlink(missing_ok=True)


def _to_bytes(output: Any) -> bytes:
    # A path is how Cog returns a file: what goes to the sink is what is in it.
    return output.read_bytes() if isinstance(output, pathlib.Path) else to_bytes(output)
