"""Reads the settings of an autoscaler: a JSON object, or the options of `eascmd autoscale`."""

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from client_sdk.setting_names import did_you_mean
from deploy.errors import BadAutoscaler
from queue_service.settings.autoscaler import Autoscaler as Autoscaler  # noqa: PLC0414 (for callers)
from queue_service.settings.autoscaler import Metric
from queue_service.settings.wrong_fields import wrong_fields

_OPTION = re.compile(r"([A-Za-z.]+(?:\[[a-z]+\])?)=(.*)")
_STRATEGIES = "strategies"
_STRATEGY = f"{_STRATEGIES}."
_FIELD_OF_STRATEGY = re.compile(r"scaleStrategies\.(\d+)\.\w+")


def read_autoscaler(given: object) -> Autoscaler:
    """Read the settings from JSON; raise BadAutoscaler for the first field that is wrong."""
    try:
        return Autoscaler.model_validate(given)
    except ValidationError as error:
        raise first_mistake(error, Autoscaler, given) from None


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
            sentence = f"expected KEY=VALUE, such as min=0 or strategies.qps=5, got {option!r}"
            raise BadAutoscaler("-D", sentence)
        name, value = match.groups()
        if name.startswith(_STRATEGY):
            strategies[name.removeprefix(_STRATEGY)] = value
        else:
            _put_at(fields, name.split("."), value)
    if strategies:
        fields[_STRATEGIES] = strategies
    return read_autoscaler(fields)


def _put_at(fields: dict[str, Any], path: list[str], value: str) -> None:
    for name in path[:-1]:
        inner = fields.setdefault(name, {})
        if not isinstance(inner, dict):
            raise BadAutoscaler(".".join(path), f"{name} is a value, not an object")
        fields = inner
    fields[path[-1]] = value


def first_mistake(error: ValidationError, model: type[BaseModel], given: object) -> BadAutoscaler:
    """Return the first thing that is wrong with settings, under the name that the user gave it."""
    wrong = next(wrong_fields(error, model, whole="the settings"))
    metric = _metric_of(wrong.name, given)
    if metric is None:
        return BadAutoscaler(wrong.name, f"expected {wrong.expected}, got {wrong.came}")
    if metric not in set(Metric):
        known = ", ".join(Metric)
        sentence = f"expected one of {known}{did_you_mean(metric, Metric)}"
        return BadAutoscaler(f"{_STRATEGY}{metric}", sentence)
    return BadAutoscaler(f"{_STRATEGY}{metric}", f"expected {wrong.expected}, got {wrong.came}")


def _metric_of(field: str, given: object) -> str | None:
    """Return the metric if the field is part of the short form, `{"strategies": {METRIC: ...}}`."""
    match = _FIELD_OF_STRATEGY.fullmatch(field)
    short = given.get(_STRATEGIES) if isinstance(given, Mapping) else None
    if match is None or not isinstance(short, Mapping):
        return None
    return str(list(short)[int(match[1])])
