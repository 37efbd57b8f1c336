"""Settings of an autoscaler, in the format of PAI EAS's API.

The format follows the request body of EAS's `CreateServiceAutoScaler`:

    {"min": 0, "max": 10,
     "scaleStrategies": [{"metricName": "queue[avgbacklog]", "threshold": 10}],
     "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0},
                  "scaleDown": {"stabilizationWindowSeconds": 300},
                  "onZero": {"scaleDownGracePeriodSeconds": 600,
                             "scaleUpActivationReplicas": 1}}}

The file of `eascmd autoscale -s` has `"strategies": {"queue[avgbacklog]": 10}` instead of
`scaleStrategies`; it is read too.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

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


def _no_truth(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError(f"expected a number, got {given}")
    return given


#: Numbers may be texts, as on a command line, but not true and false.
Whole = Annotated[int, BeforeValidator(_no_truth)]
_Number = Annotated[float, BeforeValidator(_no_truth)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Strategy(_Part):
    """One metric, and the value at which the number of workers is right.

    service: the service that is measured, in EAS; Penstock measures the service itself.
    """

    metric: Metric = Field(alias="metricName")
    threshold: Annotated[_Number, Field(gt=0, le=1e9, allow_inf_nan=False)]
    service: str = ""


class _Window(_Part):
    stabilization_window_seconds: Annotated[Whole, Field(ge=0, le=MOST_WINDOW_S)]


class _OnZero(_Part):
    scale_down_grace_period_seconds: Annotated[Whole, Field(ge=0, le=MOST_WINDOW_S)] = 600
    scale_up_activation_replicas: Annotated[Whole, Field(ge=1, le=MOST_WORKERS)] = 1


class Behavior(_Part):
    """How long a metric must ask for a change before it is made."""

    scale_up: _Window = _Window(stabilization_window_seconds=0)
    scale_down: _Window = _Window(stabilization_window_seconds=300)
    on_zero: _OnZero = _OnZero()


class Autoscaler(_Part):
    """How many workers a service may have, and when that changes."""

    min: Annotated[Whole, Field(ge=0, le=MOST_WORKERS, description="Fewest workers.")]
    max: Annotated[Whole, Field(ge=1, le=MOST_WORKERS, description="Most workers.")]
    scale_strategies: Annotated[
        tuple[Strategy, ...], Field(min_length=1, description="Metrics and their thresholds.")
    ] = (Strategy(metric=Metric.AVERAGE_BACKLOG, threshold=10),)
    behavior: Behavior = Field(Behavior(), description="Windows, and what happens at zero.")

    @model_validator(mode="before")
    @classmethod
    def _strategies_of_a_file(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "strategies" not in given:
            return given
        fields = dict(given)
        strategies = fields.pop("strategies")
        if fields.keys() & {"scaleStrategies", "scale_strategies"}:
            raise ValueError("expected strategies or scaleStrategies, got both")
        if not isinstance(strategies, Mapping):
            raise ValueError(
                f"strategies: expected an object of metrics and thresholds, got {strategies!r:.80}"
            )
        fields["scaleStrategies"] = [
            {"metricName": metric, "threshold": threshold}
            for metric, threshold in strategies.items()
        ]
        return fields

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min: expected at most max, which is {self.max}, got {self.min}")
        metrics = [strategy.metric for strategy in self.scale_strategies]
        if len(set(metrics)) < len(metrics):
            twice = next(metric for metric in metrics if metrics.count(metric) > 1)
            raise ValueError(f"scaleStrategies: expected each metric once, got {twice} twice")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the settings in the format of EAS's API, with the defaults filled in."""
        return self.model_dump(mode="json", by_alias=True)
