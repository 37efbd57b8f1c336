"""What a handler returns, from its annotation: the content type and the JSON Schema."""

import collections.abc
import inspect
from collections.abc import Callable
from typing import Any, get_args, get_origin

from inference_worker.engines.arguments import JSON, TEXT
from inference_worker.engines.handler_files import BYTES
from inference_worker.engines.parameters import annotation_of
from inference_worker.engines.typed_values import (
    CannotDescribe,
    Value,
    schemas_of,
    value_of,
    with_definitions,
)

#: Annotations of functions that yield.
_YIELDS = (
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)
#: Annotations that say nothing about the result.
_SAYS_NOTHING = (inspect.Parameter.empty, None, type(None), Any, object)
#: The content types of results that are files, by what their inputs accept.
_FILE_TYPES = {"image/*": "image/png", "audio/*": "audio/wav"}


def described_output(function: Callable[..., Any], *, is_batch: bool = False) -> dict[str, Any]:
    """Return the content types and the schema of the results; empty if they are not declared."""
    hint = _returned(function)
    yields = get_origin(hint) in _YIELDS
    if (is_batch or yields) and get_args(hint):
        hint = get_args(hint)[0]
    if hint in _SAYS_NOTHING:
        return {}
    if hint in (str, bytes):
        return {"content_types": [TEXT if hint is str else BYTES]}
    try:
        value = value_of(hint)
    except CannotDescribe:
        return {}
    if value.file:
        return {"content_types": [_FILE_TYPES.get(value.file.media_type, BYTES)]}
    schema = _schema(value)
    if yields:
        shared = schema.pop("$defs", {})
        schema = with_definitions({"type": "array", "items": schema}, shared)
    return {"content_types": [JSON], "schema": schema}


def is_declared(function: Callable[..., Any]) -> bool:
    """Return whether a function's annotation says what it returns."""
    return _returned(function) not in _SAYS_NOTHING


def _returned(function: Callable[..., Any]) -> Any:
    returned = inspect.signature(function).return_annotation
    parameter = inspect.Parameter("returned", inspect.Parameter.KEYWORD_ONLY, annotation=returned)
    return annotation_of(function, parameter)


def _schema(value: Value) -> dict[str, Any]:
    found, shared = schemas_of({"": value}, mode="serialization")
    return with_definitions(found[""], shared)
