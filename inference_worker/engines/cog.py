"""Cog predictors: a class with `setup` and `predict(**inputs)` or `run(**inputs)`, or a function.

The file needs no change: `import cog` finds the replacements in cog_sdk.py.  The payload is JSON:
the inputs by name, or `{"input": ...}` as in Cog's own server; files are data URLs.

If the output is a file, the result is its content.  Files inside an output, at any depth, become
data URLs.  As with Cog, the pieces of a `ConcatenateIterator` become one text, those of an
`Iterator` a list.
"""

import collections.abc
import dataclasses
import enum
import inspect
import io
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, get_origin, get_type_hints

from pydantic import BaseModel

from inference_worker.engines import cog_sdk, data_url
from inference_worker.engines.cog_inputs import Inputs, described_inputs, reader_of
from inference_worker.engines.engine import Context, Failed, Finished
from inference_worker.engines.locate import find, find_first, is_async
from inference_worker.engines.payload import Pieces, to_bytes
from inference_worker.engines.shape import Shape
from inference_worker.errors import BadEngine

#: The names that are searched in a module if no name is given.
_USUAL_NAMES = ("Runner", "Predictor")

#: Annotations of outputs whose pieces become a list, not one text.
_LISTS = (
    collections.abc.Iterator,
    collections.abc.AsyncIterator,
    collections.abc.Generator,
    collections.abc.AsyncGenerator,
)


def cog_shape(target: str) -> Shape:
    """Return the shape of `module:Class` or `module:function`; creates the instance."""
    cog_sdk.install()
    found = find(target) if ":" in target else find_first(target, _USUAL_NAMES)
    predictor = found() if inspect.isclass(found) else found
    call = getattr(predictor, "run", None) or getattr(predictor, "predict", None)
    if call is None and not inspect.isclass(found):
        call = predictor
    if not callable(call):
        raise BadEngine(f"a method run or predict in {target}", "a class without one")
    setup = getattr(predictor, "setup", None)
    is_list = get_origin(get_type_hints(call).get("return")) in _LISTS

    def predict(inputs: Inputs, context: Context) -> Any:
        cog_sdk.enter_scope(inputs.context)
        return call(**inputs.values)

    return Shape(
        read=reader_of(call),
        predict=predict,
        write=lambda output: Finished(_to_bytes(output)),
        piece=_in_json if is_list else _piece,
        finish=_list if is_list else lambda pieces: Finished(pieces.joined()),
        forget=_remove_files,
        is_async=is_async(call),
        setup=None if setup is None else _setup_of(setup),
        health=getattr(predictor, "healthcheck", None),
        concurrency=getattr(call, cog_sdk.CONCURRENT_MAX, 1),
        inputs=described_inputs(call),
    )


def _setup_of(setup: Callable[..., Any]) -> Callable[[Context], Any]:
    parameters = inspect.signature(setup).parameters
    if not parameters:
        return lambda context: setup()
    first = next(iter(parameters.values()))
    # As in Cog: from the environment, or from a folder next to the predictor.
    folder = pathlib.Path("weights")
    weights: object = os.environ.get("COG_WEIGHTS") or (folder if folder.exists() else None)
    if weights is None and first.default is not first.empty:
        return lambda context: setup()
    return lambda context: setup(weights)


def _remove_files(inputs: Inputs | None) -> None:
    if inputs is not None:
        inputs.remove_files()


def _list(pieces: Pieces) -> Finished | Failed:
    return Finished(pieces.listed())


def _piece(output: Any) -> Any:
    content = _content(output)
    return _in_json(output) if content is None else content


def _to_bytes(output: Any) -> bytes:
    content = _content(output)
    return to_bytes(_in_json(output)) if content is None else content


def _content(output: Any) -> bytes | None:
    """Return the content of an output that is a file; None for other outputs."""
    if isinstance(output, os.PathLike):
        return pathlib.Path(output).read_bytes()
    if isinstance(output, io.IOBase):
        return _read(output)
    return None


def _in_json(output: Any) -> Any:
    """Return an output with data URLs in place of files."""
    if (content := _content(output)) is not None:
        return data_url.encode(content, str(getattr(output, "name", "")))
    if (fields := _fields_of(output)) is not None:
        return {name: _in_json(value) for name, value in fields.items()}
    match output:
        case list() | tuple() | set() | frozenset():
            return [_in_json(value) for value in output]
        case cog_sdk.Secret():
            return output.get_secret_value()
        case enum.Enum():
            return output.value
        case _:
            return output


def _fields_of(output: Any) -> Mapping[str, Any] | None:
    match output:
        case Mapping():
            return output
        case BaseModel():
            return {name: getattr(output, name) for name in type(output).model_fields}
        case _ if dataclasses.is_dataclass(output) and not isinstance(
            output, (type, cog_sdk.Secret)
        ):
            return {one.name: getattr(output, one.name) for one in dataclasses.fields(output)}
        case _:
            return None


def _read(file: io.IOBase) -> bytes:
    if file.seekable():
        file.seek(0)
    data = file.read()
    return data.encode() if isinstance(data, str) else bytes(data)
