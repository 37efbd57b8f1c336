"""`runpod.serverless.utils.rp_validator.validate`: checks an input against a schema of types.

The messages are RunPod's own, because handlers return them and clients may depend on them.
"""

import json
from collections.abc import Mapping
from typing import Any


def validate(raw_input: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return `validated_input`, with defaults, or `errors`, a list of messages.

    schema: for each input `type`, `required`, and optionally `default` and a function
    `constraints`.
    """
    errors = [
        f"Unexpected input. {name} is not a valid input option."
        for name in raw_input
        if name not in schema
    ]
    validated = dict(raw_input)
    for name, entry in schema.items():
        rules = rules_of(entry)
        if rules is None:
            errors.append(f"Schema error, {name} is not a dictionary.")
            continue
        errors += _wrong_in_schema(name, rules, given=name in raw_input)
        if name not in raw_input and "default" in rules and not rules.get("required", True):
            validated[name] = rules["default"]
        errors += _wrong_in_value(name, rules, validated)
    return {"errors": errors} if errors else {"validated_input": validated}


def rules_of(entry: Any) -> dict[str, Any] | None:
    """Return the rules of one input, which may be JSON; None for anything else."""
    if isinstance(entry, dict):
        return entry
    try:
        rules = json.loads(entry)
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
        # A value of the default's own type, such as None, is accepted too.
        is_as_default = "default" in rules and isinstance(value, type(rules["default"]))
        if not isinstance(value, kind) and not is_as_default:
            errors.append(f"{name} should be {kind} type, not {type(value)}.")
    constraints = rules.get("constraints")
    if constraints is not None and not errors and not constraints(validated.get(name)):
        errors.append(f"{name} does not meet the constraints.")
    return errors
