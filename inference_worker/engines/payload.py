"""Converts payloads to the inputs of a user's code, and its outputs to bytes."""

import dataclasses
import datetime
import decimal
import enum
import inspect
import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, get_origin, is_typeddict

from pydantic import BaseModel

from inference_worker.engines.failures import BadInput, TooBig
from inference_worker.engines.handler_files import as_data_url, file_of
from inference_worker.errors import BadEngine

#: The largest result, in bytes: Redis cannot store a larger value.
MOST_RESULT_BYTES = 512 * 1024 * 1024

_JSON_TYPES = (dict, list, int, float, bool)


def reader_of(predict: Callable[..., Any], input_type: object) -> Callable[[bytes], object]:
    """Return a function that converts a payload to predict's first argument, by its annotation.

    input_type: "bytes", "text" or "json" if the class sets it, else None.
    """
    readers: dict[object, Callable[[bytes], object]] = {
        "bytes": bytes,
        "text": read_text,
        "json": read_json,
    }
    if input_type is None:
        input_type = _annotated_type(_first_annotation(predict))
    if input_type not in readers:
        raise BadEngine(f"an input_type of {', '.join(map(str, readers))}", repr(input_type))
    return readers[input_type]


def item_reader_of(predict_batch: Callable[..., Any], input_type: object) -> Callable[..., object]:
    """Return the same for predict_batch, whose argument is annotated `list[...]`."""
    annotation = _first_annotation(predict_batch)
    items = getattr(annotation, "__args__", ())
    if input_type is None and items:
        input_type = _annotated_type(items[0])
    return reader_of(predict_batch, input_type or "bytes")


def reads_text(reader: Callable[[bytes], object]) -> bool:
    """Return whether a reader converts the payload to text."""
    return reader is read_text


def read_json(data: bytes) -> Any:
    """Parse a payload as JSON; raises BadInput."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"expected JSON: {error}") from error


def to_bytes(output: object, *, converts: bool = False) -> bytes:
    """Convert a handler's output to the payload of a sink entry; empty for None.

    converts: whether JSON may have models, sets, dates and files in it.
    """
    match output:
        case None:
            return b""
        case bytes() | bytearray() | memoryview():
            # A copy, also of subclasses of bytes: the supervisor could not unpickle a subclass.
            return bytes(output)
        case str():
            return output.encode()
        case _ if (file := file_of(output)) is not None:
            return file.data
        case _:
            default = _plain if converts else _plain_array
            text = json.dumps(output, ensure_ascii=False, allow_nan=False, default=default)
            return text.encode()


def outputs_of(output: Any, number: int) -> list[Any]:
    """Return the outputs of predict_batch, one for each of `number` inputs."""
    if isinstance(output, str | bytes | Mapping | Set) or not isinstance(output, Iterable):
        raise TypeError(f"predict_batch gave a {type(output).__name__} where a list is expected")
    # Read only one more than expected: a generator may be endless.
    outputs = list(itertools.islice(output, number + 1))
    if len(outputs) != number:
        gave = len(outputs) if len(outputs) < number else "more"
        raise ValueError(f"predict_batch took {number} inputs and gave {gave}")
    return outputs


class Pieces:
    """The values of a generator: joined if all are text or bytes, otherwise a JSON list.

    converts: see to_bytes.
    """

    def __init__(self, *, converts: bool = False) -> None:
        self._converts = converts
        self._all: list[object] = []
        self._size = 0

    def add(self, piece: object) -> bytes:
        """Add one; return it as bytes.  Raises TooBig for an endless result."""
        data = to_bytes(piece, converts=self._converts)
        self._size += len(data)
        if self._size > MOST_RESULT_BYTES:
            raise TooBig(f"the pieces exceed {MOST_RESULT_BYTES} bytes")
        if piece is not None:
            self._all.append(piece)
        return data

    def joined(self) -> bytes:
        """Return all values as one result."""
        plain = (bytes, bytearray, memoryview, str)
        if all(isinstance(piece, plain) for piece in self._all):
            return b"".join(map(to_bytes, self._all))
        return self.listed()

    def listed(self) -> bytes:
        """Return all values as a JSON list."""
        return to_bytes(self._all, converts=self._converts)


def _plain(value: Any) -> Any:
    """Convert arrays and numbers of numpy and torch, models, enums and files to JSON types."""
    if (file := file_of(value)) is not None:
        return as_data_url(file)
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    match value:
        case Set():
            return list(value)
        case enum.Enum():
            return value.value
        case datetime.date() | datetime.time():
            return value.isoformat()
        case uuid.UUID() | decimal.Decimal():
            return str(value)
    return _plain_array(value)


def _plain_array(value: Any) -> Any:
    """Convert arrays and numbers of numpy and torch to JSON types."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _first_annotation(function: Callable[..., Any]) -> Any:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None:
        return inspect.Parameter.empty
    annotation = first.annotation
    if isinstance(annotation, str):
        # Evaluate only this annotation: the others may need imports that only a type checker sees.
        plain = inspect.unwrap(getattr(function, "__func__", function))
        annotation = eval(annotation, getattr(plain, "__globals__", {}))
    return annotation


def _annotated_type(annotation: Any) -> str:
    if annotation is str:
        return "text"
    kind = get_origin(annotation) or annotation
    return "json" if kind in _JSON_TYPES or is_typeddict(kind) else "bytes"


def read_text(data: bytes) -> str:
    """Decode a payload as UTF-8; raises BadInput."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"expected UTF-8 text, got another byte at {error.start}") from error
