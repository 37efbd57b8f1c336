"""The inputs of a RunPod handler, as it declares them for `rp_validator.validate`.

RunPod has no place for that declaration.  It is the dictionary that the handler's own code names
next to `validate`.
"""

import types
from collections.abc import Callable, Mapping
from typing import Any

from inference_worker.engines.arguments import JSON
from inference_worker.engines.runpod_validator import rules_of, validate

#: The types of `type`, in JSON.  To Python true is a number too.
_TYPES: Mapping[object, list[str]] = {
    str: ["string"],
    int: ["integer", "boolean"],
    float: ["number"],
    bool: ["boolean"],
    list: ["array"],
    dict: ["object"],
    type(None): ["null"],
}


def described_inputs(handler: Callable[..., Any]) -> dict[str, Any]:
    """Return the schema for the queue service (see interface.py); empty if there is none."""
    declared = _declared(handler)
    if declared is None:
        return {}
    schema = {
        "type": "object",
        "properties": {name: _property(rules) for name, rules in declared.items()},
        "required": [name for name, rules in declared.items() if rules.get("required") is True],
        "additionalProperties": False,
    }
    return {"content_types": [JSON], "schema": schema, "envelope": "input"}


def _declared(handler: Callable[..., Any]) -> dict[str, dict[str, Any]] | None:
    code, names = getattr(handler, "__code__", None), getattr(handler, "__globals__", {})
    if not isinstance(code, types.CodeType):
        return None
    used = [names[name] for name in code.co_names if name in names]
    validates = any(one is validate or getattr(one, "validate", None) is validate for one in used)
    found = [rules for one in used if (rules := _as_schema(one)) is not None]
    return found[0] if validates and len(found) == 1 else None


def _as_schema(value: object) -> dict[str, dict[str, Any]] | None:
    if not isinstance(value, dict) or not value:
        return None
    rules = {
        str(name): one for name, entry in value.items() if (one := rules_of(entry)) is not None
    }
    is_schema = len(rules) == len(value) and all("type" in one for one in rules.values())
    return rules if is_schema else None


def _property(rules: Mapping[str, Any]) -> dict[str, Any]:
    kinds = rules["type"] if isinstance(rules["type"], tuple) else (rules["type"],)
    if not all(kind in _TYPES for kind in kinds):
        return {}
    allowed = [name for kind in kinds for name in _TYPES[kind]]
    more: dict[str, Any] = {}
    if "default" in rules:
        # The validator accepts a value of the default's own type too.
        allowed += _TYPES.get(type(rules["default"]), [])
        if type(rules["default"]) in (str, int, float, bool, type(None)):
            more["default"] = rules["default"]
    unique = list(dict.fromkeys(allowed))
    return {"type": unique[0] if len(unique) == 1 else unique, **more}
