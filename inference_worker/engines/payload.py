"""Between bytes and what a user's code takes and returns."""

import inspect
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, get_origin, is_typeddict

from inference_worker.engines.failures import BadInput, TooBig
from inference_worker.errors import BadEngine

#: No sink takes a longer result: that is the longest text of Redis, in bytes.
MOST_RESULT_BYTES = 512 * 1024 * 1024

_JSON_TYPES = (dict, list, int, float, bool)


def reader_of(predict: Callable[..., Any], input_type: object) -> Callable[[bytes], object]:
    """Return what turns a payload into predict's first argument, as its annotation says.

    input_type: "bytes", "text" or "json" where the class says so itself, else None.
    """
    readers: dict[object, Callable[[bytes], object]] = {
        "bytes": bytes,
        "text": _read_text,
        "json": read_json,
    }
    if input_type is None:
        input_type = _annotated_type(_first_annotation(predict))
    if input_type not in readers:
        raise BadEngine(f"an input_type of {', '.join(map(str, readers))}", repr(input_type))
    return readers[input_type]


def item_reader_of(predict_batch: Callable[..., Any], input_type: object) -> Callable[..., object]:
    """Do the same for predict_batch, whose argument is annotated `list[...]` of inputs."""
    annotation = _first_annotation(predict_batch)
    items = getattr(annotation, "__args__", ())
    if input_type is None and items:
        input_type = _annotated_type(items[0])
    return reader_of(predict_batch, input_type or "bytes")


def reads_text(reader: Callable[[bytes], object]) -> bool:
    """Say whether a reader gives the payload as text."""
    return reader is _read_text


def read_json(data: bytes) -> Any:
    """Read a payload as JSON; raise BadInput when it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"expected JSON: {error}") from error


def to_bytes(output: object) -> bytes:
    """Return what a handler returned as the payload of a sink entry; empty for none."""
    match output:
        case None:
            return b""
        case bytes() | bytearray() | memoryview():
            # Of a class derived from bytes too: the other process would have to import that one.
            return bytes(output)
        case str():
            return output.encode()
        case _:
            text = json.dumps(output, ensure_ascii=False, allow_nan=False, default=_plain)
            return text.encode()


def outputs_of(output: Any, number: int) -> list[Any]:
    """Return what predict_batch gave as one output for each of so many inputs."""
    if isinstance(output, str | bytes | Mapping | Set) or not isinstance(output, Iterable):
        raise TypeError(f"predict_batch gave a {type(output).__name__} where a list is expected")
    # One more than there may be, and not all of them: a generator need not end.
    outputs = list(itertools.islice(output, number + 1))
    if len(outputs) != number:
        gave = len(outputs) if len(outputs) < number else "more"
        raise ValueError(f"predict_batch took {number} inputs and gave {gave}")
    return outputs


class Pieces:
    """What a generator has yielded: joined when it is text or bytes, else a JSON list."""

    def __init__(self) -> None:
        self._all: list[object] = []
        self._size = 0

    def add(self, piece: object) -> bytes:
        """Take one; return it as bytes.  Raises TooBig for a result that does not end."""
        data = to_bytes(piece)
        self._size += len(data)
        if self._size > MOST_RESULT_BYTES:
            raise TooBig(f"the pieces are more than {MOST_RESULT_BYTES} bytes by now")
        if piece is not None:
            self._all.append(piece)
        return data

    def joined(self) -> bytes:
        """Return them all as one result."""
        plain = (bytes, bytearray, memoryview, str)
        if all(isinstance(piece, plain) for piece in self._all):
            return b"".join(map(to_bytes, self._all))
        return to_bytes(self._all)

    def listed(self) -> bytes:
        """Return them as a JSON list, whatever they are."""
        return to_bytes(self._all)


def _plain(value: Any) -> Any:
    """Return what is no JSON as what is: arrays and numbers of numpy and torch."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _first_annotation(function: Callable[..., Any]) -> Any:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None:
        return inspect.Parameter.empty
    annotation = first.annotation
    if isinstance(annotation, str):
        # Only this one annotation is evaluated: the others may name what only a type checker sees.
        plain = inspect.unwrap(getattr(function, "__func__", function))
        annotation = eval(annotation, getattr(plain, "__globals__", {}))
    return annotation


def _annotated_type(annotation: Any) -> str:
    if annotation is str:
        return "text"
    kind = get_origin(annotation) or annotation
    return "json" if kind in _JSON_TYPES or is_typeddict(kind) else "bytes"


def _read_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"expected UTF-8 text, got another byte at {error.start}") from error
