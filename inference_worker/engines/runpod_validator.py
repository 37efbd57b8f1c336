"""`runpod.serverless.utils.rp_validator.validate`: an input against a schema of types.

The sentences are RunPod's own, because handlers return them, and clients know them.
"""

import json
from collections.abc import Mapping
from typing import Any


def validate(raw_input: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return `validated_input`, with the defaults put in, or `errors`, one sentence each.

    schema: for each input `type`, `required`, and maybe `default` and `constraints`, a function.
    """
    errors = [
        f"Unexpected input. {name} is not a valid input option."
        for name in raw_input
        if name not in schema
    ]
    validated = dict(raw_input)
    for name, told in schema.items():
        rules = _rules(told)
        if rules is None:
            errors.append(f"Schema error, {name} is not a dictionary.")
            continue
        errors += _wrong_in_schema(name, rules, given=name in raw_input)
        if name not in raw_input and "default" in rules and not rules.get("required", True):
            validated[name] = rules["default"]
        errors += _wrong_in_value(name, rules, validated)
    return {"errors": errors} if errors else {"validated_input": validated}


def _rules(told: Any) -> dict[str, Any] | None:
    if isinstance(told, dict):
        return told
    try:
        rules = json.loads(told)
    except (TypeError, ValueError):
        return None
    return rules if isinstance(rules, dict) else None


def _wrong_in_schema(name: str, rules: Mapping[str, Any], *, given: bool) -> list[str]:
    errors = [] if "type" in rules else [f"Schema error, missing type for {name}."]
    if "required" not in rules or (rules["required"] and not given):
        errors.append(f"{name} is a required input.")
    elif not rules["required"] and not given and "default" not in rules:
        errors.append(f"Schema error, missing default value for {name}.")
    return errors


def _wrong_in_value(name: str, rules: Mapping[str, Any], validated: dict[str, Any]) -> list[str]:
    errors = []
    kind = rules.get("type")
    if name in validated and isinstance(kind, type | tuple):
        value = validated[name]
        if kind is float and type(value) is int:
            value = validated[name] = float(value)
        # A value of the default's own type is taken, whatever the type says: `None`, for one.
        is_as_default = "default" in rules and isinstance(value, type(rules["default"]))
        if not isinstance(value, kind) and not is_as_default:
            errors.append(f"{name} should be {kind} type, not {type(value)}.")
    constraints = rules.get("constraints")
    if constraints is not None and not errors and not constraints(validated.get(name)):
        errors.append(f"{name} does not meet the constraints.")
    return errors
