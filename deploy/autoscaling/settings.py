"""Reads the settings of an autoscaler: a JSON object, or the options of `eascmd autoscale`."""

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from deploy.errors import BadAutoscaler
from queue_service.settings.autoscaler import Autoscaler as Autoscaler  # noqa: PLC0414 (for callers)

_OPTION = re.compile(r"([A-Za-z.]+(?:\[[a-z]+\])?)=(.*)")
_STRATEGY = "strategies."


def read_autoscaler(given: object) -> Autoscaler:
    """Read the settings from JSON; raise BadAutoscaler for the first field that is wrong."""
    try:
        return Autoscaler.model_validate(given)
    except ValidationError as error:
        raise explained(error) from None


def read_options(options: Iterable[str], current: Mapping[str, Any] | None = None) -> Autoscaler:
    """Read options of `eascmd autoscale`, without the `-D`: `min=0`, `strategies.qps=5`, ...

    A key of `behavior` is its path with dots: `behavior.scaleDown.stabilizationWindowSeconds=60`.
    current: the settings, in the format of EAS's API, that the options change.
    """
    fields: dict[str, Any] = copy.deepcopy(dict(current or {}))
    strategies: dict[str, Any] = {
        one["metricName"]: one["threshold"] for one in fields.pop("scaleStrategies", ())
    }
    for option in options:
        match = _OPTION.fullmatch(option)
        if match is None:
            raise BadAutoscaler(option, "name=value, such as min=0 or strategies.qps=5")
        name, value = match.groups()
        if name.startswith(_STRATEGY):
            strategies[name.removeprefix(_STRATEGY)] = value
        else:
            _put_at(fields, name.split("."), value)
    if strategies:
        fields["strategies"] = strategies
    return read_autoscaler(fields)


def _put_at(fields: dict[str, Any], path: list[str], value: str) -> None:
    for name in path[:-1]:
        inner = fields.setdefault(name, {})
        if not isinstance(inner, dict):
            raise BadAutoscaler(".".join(path), f"{name} is a value, not an object")
        fields = inner
    fields[path[-1]] = value


def explained(error: ValidationError) -> BadAutoscaler:
    """Return the first thing that is wrong with settings, as a sentence for the operator."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return BadAutoscaler(place, "no such key")
    if first["type"] == "missing":
        return BadAutoscaler(place, "the key is missing")
    return BadAutoscaler(place, f"{message}; got {first['input']!r}" if place else message)
