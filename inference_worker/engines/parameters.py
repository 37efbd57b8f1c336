"""The parameters of a handler: what their annotations are, and whether JSON can describe them."""

import inspect
from collections.abc import Callable
from typing import Any

from inference_worker.engines.engine import Context
from inference_worker.engines.typed_values import CannotDescribe, Value, value_of

#: The names of a parameter that gets the context.
CONTEXT_NAMES = ("ctx", "context")
_EMPTY = inspect.Parameter.empty


def annotation_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return an annotation; one that is text is evaluated, and empty if it cannot be."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    plain = inspect.unwrap(getattr(function, "__func__", function))
    try:
        return eval(parameter.annotation, getattr(plain, "__globals__", {}))
    except Exception:
        # Imports that only a type checker sees.
        return _EMPTY


def context_name(function: Callable[..., Any]) -> str | None:
    """Return the parameter that gets the context; None if there is none."""
    for name, parameter in inspect.signature(function).parameters.items():
        if is_context(name, annotation_of(function, parameter)):
            return name
    return None


def is_context(name: str, hint: Any) -> bool:
    """Return whether a parameter gets the context."""
    return name in CONTEXT_NAMES or (isinstance(hint, type) and issubclass(hint, Context))


def value_or_none(hint: Any) -> Value | None:
    """Return how values of an annotation are read; None if JSON cannot describe them."""
    try:
        return value_of(hint)
    except CannotDescribe:
        return None


def undescribed(function: Callable[..., Any]) -> str:
    """Return a parameter of a job whose type JSON cannot describe, as it is written; "" if none."""
    for name, parameter in inspect.signature(function).parameters.items():
        hint = annotation_of(function, parameter)
        is_input = hint is not _EMPTY and not is_context(name, hint)
        if is_input and value_or_none(hint) is None:
            return str(parameter)
    return ""
