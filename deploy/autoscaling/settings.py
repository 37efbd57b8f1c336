"""Settings of an autoscaler, in the format of PAI EAS's API and of `eascmd autoscale -D`.

The format follows the request body of EAS's `CreateServiceAutoScaler`:

    {"min": 0, "max": 10,
     "scaleStrategies": [{"metricName": "queue[avgbacklog]", "threshold": 10}],
     "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0},
                  "scaleDown": {"stabilizationWindowSeconds": 300},
                  "onZero": {"scaleDownGracePeriodSeconds": 600,
                             "scaleUpActivationReplicas": 1}}}
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from deploy.errors import BadAutoscaler

#: The largest number of workers that EAS allows.
MOST_WORKERS = 1000
#: The longest window, in seconds: a day.
MOST_WINDOW_S = 86_400


class Metric(StrEnum):
    """What a strategy compares with its threshold.

    AVERAGE_BACKLOG: waiting jobs per worker.  BACKLOG: waiting jobs.  WAIT: seconds that a new job
    would wait, by the estimate; EAS does not have it.  QPS: jobs put per second and worker.
    CPU: percent of the CPUs that the workers may use.
    """

    AVERAGE_BACKLOG = "queue[avgbacklog]"
    BACKLOG = "queue[backlog]"
    WAIT = "queue[wait]"
    QPS = "qps"
    CPU = "cpu"


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class Strategy(_Part):
    """One metric, and the value at which the number of workers is right.

    service: EAS's name of the service that is measured; Penstock only measures the service itself.
    """

    metric: Metric = Field(alias="metricName")
    threshold: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
    service: str = ""


class _Window(_Part):
    stabilization_window_seconds: Annotated[int, Field(ge=0, le=MOST_WINDOW_S)]


class _OnZero(_Part):
    scale_down_grace_period_seconds: Annotated[int, Field(ge=0, le=MOST_WINDOW_S)] = 600
    scale_up_activation_replicas: Annotated[int, Field(ge=1, le=MOST_WORKERS)] = 1


class Behavior(_Part):
    """How long a metric must ask for a change before it is made."""

    scale_up: _Window = _Window(stabilization_window_seconds=0)
    scale_down: _Window = _Window(stabilization_window_seconds=300)
    on_zero: _OnZero = _OnZero()


class Autoscaler(_Part):
    """How many workers a service may have, and when that changes."""

    min: Annotated[int, Field(ge=0, le=MOST_WORKERS)]
    max: Annotated[int, Field(ge=1, le=MOST_WORKERS)]
    scale_strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)] = (
        Strategy(metric=Metric.AVERAGE_BACKLOG, threshold=10),
    )
    behavior: Behavior = Behavior()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"`min` ({self.min}) must not be above `max` ({self.max})")
        metrics = [strategy.metric for strategy in self.scale_strategies]
        if len(set(metrics)) < len(metrics):
            raise ValueError("a metric must not have two strategies")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the settings in the format of EAS's API, with the defaults filled in."""
        return self.model_dump(mode="json", by_alias=True)


def read_autoscaler(given: object) -> Autoscaler:
    """Read the settings from JSON; raise BadAutoscaler for the first field that is wrong."""
    try:
        return Autoscaler.model_validate(given)
    except ValidationError as error:
        raise explained(error) from None


_OPTION = re.compile(r"([A-Za-z.]+(?:\[[a-z]+\])?)=(.*)")
_STRATEGY = "strategies."


def read_options(options: Iterable[str]) -> Autoscaler:
    """Read options of `eascmd autoscale`, without the `-D`: `min=0`, `strategies.qps=5`, ...

    A key of `behavior` is its path with dots: `behavior.scaleDown.stabilizationWindowSeconds=60`.
    """
    fields: dict[str, Any] = {}
    strategies: list[dict[str, str]] = []
    for option in options:
        match = _OPTION.fullmatch(option)
        if match is None:
            raise BadAutoscaler(option, "name=value, such as min=0 or strategies.qps=5")
        name, value = match.groups()
        if name.startswith(_STRATEGY):
            metric = name.removeprefix(_STRATEGY)
            strategies.append({"metricName": metric, "threshold": value})
        else:
            _put_at(fields, name.split("."), value)
    if strategies:
        fields["scaleStrategies"] = strategies
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
