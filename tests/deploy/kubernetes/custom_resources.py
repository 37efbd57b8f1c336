"""Schemas of the chart's custom resources, written from the documentation of their CRDs.

KEDA 2.14 or newer (`keda.sh/v1alpha1`) and the Prometheus operator (`monitoring.coreos.com/v1`).
Only fields that the chart may use are here, so that an invented one is found.
"""

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _count(least: int = 0, most: int | None = None) -> Schema:
    bounds = {"minimum": least} | ({} if most is None else {"maximum": most})
    return {"type": "integer", **bounds}


def _choice(*values: str) -> Schema:
    return {"enum": list(values)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


_STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_SECRET_KEY = _object(("name", "key"), name=_TEXT, key=_TEXT)

#: The metrics-api scaler reads a number at `valueLocation` of what `url` answers; every value of
#: the metadata of a trigger is text.
_METRICS_API = _object(
    ("url", "valueLocation", "targetValue", "authMode"),
    url={"type": "string", "pattern": "^https?://"},
    valueLocation=_TEXT,
    targetValue={"type": "string", "pattern": r"^[0-9.]+$"},
    activationTargetValue={"type": "string", "pattern": r"^[0-9.]+$"},
    authMode=_choice("apiKey", "basic", "tls", "bearer"),
    unsafeSsl=_choice("true", "false"),
)


def _trigger(**more: Schema) -> Schema:
    return _object(
        ("type", "metadata", "authenticationRef"),
        type={"const": "metrics-api"},
        name=_TEXT,
        metadata=_METRICS_API,
        authenticationRef=_object(("name",), name=_TEXT, kind=_choice("TriggerAuthentication")),
        **more,
    )


_WINDOW = _object(stabilizationWindowSeconds=_count(0, 3600))

_SCALED_OBJECT = _object(
    ("scaleTargetRef", "triggers"),
    scaleTargetRef=_object(("name",), name=_TEXT, kind=_TEXT, apiVersion=_TEXT),
    minReplicaCount=_count(),
    maxReplicaCount=_count(1),
    pollingInterval=_count(1),
    cooldownPeriod=_count(),
    advanced=_object(
        scalingModifiers=_object(
            ("formula", "target"),
            formula=_TEXT,
            target=_TEXT,
            activationTarget=_TEXT,
            metricType=_choice("AverageValue", "Value"),
        ),
        horizontalPodAutoscalerConfig=_object(behavior=_object(scaleUp=_WINDOW, scaleDown=_WINDOW)),
    ),
    triggers=_list(_trigger(metricType=_choice("AverageValue", "Value"))),
)

_SCALED_JOB = _object(
    ("jobTargetRef", "triggers"),
    minReplicaCount=_count(),
    maxReplicaCount=_count(1),
    pollingInterval=_count(1),
    successfulJobsHistoryLimit=_count(),
    failedJobsHistoryLimit=_count(),
    rollout=_object(strategy=_choice("gradual", "immediate")),
    scalingStrategy=_object(
        strategy=_choice("default", "custom", "accurate", "eager"),
        pendingPodConditions=_list(_TEXT),
    ),
    triggers=_list(_trigger()),
    # A test checks it as the specification of a Job.
    jobTargetRef={"type": "object", "required": ["template"]},
)

_TRIGGER_AUTHENTICATION = _object(
    ("secretTargetRef",),
    secretTargetRef=_list(
        _object(("parameter", "name", "key"), parameter={"const": "token"}, name=_TEXT, key=_TEXT)
    ),
)

_SELECTOR = _object(("matchLabels",), matchLabels=_STRINGS)
_DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}

_SERVICE_MONITOR = _object(
    ("selector", "endpoints"),
    selector=_SELECTOR,
    endpoints=_list(
        _object(
            port=_TEXT,
            path=_TEXT,
            scheme=_choice("http", "https"),
            interval=_DURATION,
            tlsConfig=_object(serverName=_TEXT, ca=_object(secret=_SECRET_KEY)),
            authorization=_object(
                ("credentials",), type={"const": "Bearer"}, credentials=_SECRET_KEY
            ),
        )
    ),
)

_POD_MONITOR = _object(
    ("selector", "podMetricsEndpoints"),
    selector=_SELECTOR,
    podMetricsEndpoints=_list(_object(port=_TEXT, path=_TEXT, interval=_DURATION)),
)


def _resource(api: str, kind: str, spec: Schema) -> Schema:
    name: Schema = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
    metadata = _object(("name",), name=name, labels=_STRINGS, annotations=_STRINGS)
    required = ("apiVersion", "kind", "metadata", "spec")
    return _object(
        required, apiVersion={"const": api}, kind={"const": kind}, metadata=metadata, spec=spec
    )


_KEDA, _PROMETHEUS = "keda.sh/v1alpha1", "monitoring.coreos.com/v1"

#: By kind.
SCHEMAS: dict[str, Schema] = {
    "ScaledObject": _resource(_KEDA, "ScaledObject", _SCALED_OBJECT),
    "ScaledJob": _resource(_KEDA, "ScaledJob", _SCALED_JOB),
    "TriggerAuthentication": _resource(_KEDA, "TriggerAuthentication", _TRIGGER_AUTHENTICATION),
    "ServiceMonitor": _resource(_PROMETHEUS, "ServiceMonitor", _SERVICE_MONITOR),
    "PodMonitor": _resource(_PROMETHEUS, "PodMonitor", _POD_MONITOR),
}
