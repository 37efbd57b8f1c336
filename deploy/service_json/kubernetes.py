"""Values of the Helm chart in deploy/kubernetes from a service.json.

A container of the file runs unchanged, as a sidecar of each worker.  Anything else is an engine in
the worker's image.  No token is written: values are no place for one.
"""

import math
import re
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from deploy.service_json.plan import OWN_CODE, SCALERS, ContainerPlan, ServicePlan, WorkerPlan
from queue_service.settings.autoscaler import Autoscaler, Metric

#: Where a worker's container finds files of this machine.
_FOLDER, _MODEL = "/handlers", "/model"
#: The longest stabilization window of a HorizontalPodAutoscaler.
_MOST_WINDOW_S = 3600


def render_values(plan: ServicePlan, *, worker: WorkerPlan, folder: Path) -> str:
    """Return the text of a values file.

    worker: what an instance runs if it is not a container.  folder: that of the service.json.
    """
    files: dict[str, str] = {}
    # KEDA scales in Kubernetes; Penstock's own autoscaler has no part in it.
    settings = {name: value for name, value in plan.settings.items() if name not in SCALERS}
    service: dict[str, Any] = {"replicas": plan.instances, "settings": settings}
    if plan.container is not None:
        service |= _of_container(plan, plan.container)
    else:
        service["worker"], source = _of_engine(plan, worker, folder)
        if source is not None:
            files[_files_name(plan)] = str(source)
    if plan.settings.get("autoscaler"):
        service["autoscaling"] = _autoscaling(plan)
    values: dict[str, Any] = {"services": {plan.name: service}}
    if plan.min_replica != 1:
        values["queueService"] = {"minReplica": plan.min_replica}
    if plan.token:
        values["tokens"] = {"clients": _tokens_name(plan)}
    return _head(plan, files) + yaml.safe_dump(values, sort_keys=False, width=100)


def resource_name(name: str) -> str:
    """Return a service's name as part of the name of a resource of Kubernetes."""
    return re.sub("[^a-z0-9-]", "-", name.lower()).strip("-") or "service"


def _files_name(plan: ServicePlan) -> str:
    return f"{resource_name(plan.name)}-files"


def _tokens_name(plan: ServicePlan) -> str:
    return f"{resource_name(plan.name)}-tokens"


def _of_container(plan: ServicePlan, container: ContainerPlan) -> dict[str, Any]:
    options = {
        key: value
        for key, value in plan.worker.engine_options.items()
        if key not in ("script", "port")
    }
    worker: dict[str, Any] = {"engineOptions": options} if options else {}
    if plan.worker.window is not None:
        worker["window"] = plan.worker.window
    if timeout_s := options.get("timeout_s"):
        worker["graceS"] = math.ceil(timeout_s)
    model: dict[str, Any] = {"image": container.image, "port": container.port}
    if container.script:
        model["command"] = ["/bin/sh", "-c", container.script]
    if container.env:
        model["env"] = dict(container.env)
    if resources := _resources(plan):
        model["resources"] = resources
    return {"worker": worker | _gpus(plan), "model": model}


def _of_engine(
    plan: ServicePlan, worker: WorkerPlan, folder: Path
) -> tuple[dict[str, Any], Path | None]:
    """Return the chart's `worker`, and what of this machine it needs as files."""
    kind, _, target = worker.engine.partition(":")
    engine, source, place = worker.engine, None, _FOLDER
    if kind == "pmml" and "://" not in target:
        source, place = folder / target, _MODEL
        engine = f"pmml:{PurePosixPath(_MODEL) / source.name}"
    elif kind in OWN_CODE:
        source = folder
    values: dict[str, Any] = {"engine": engine}
    if worker.engine_options:
        values["engineOptions"] = dict(worker.engine_options)
    if worker.window is not None:
        values["window"] = worker.window
    if worker.run_timeout_s:
        # The pod's grace follows from it.
        values["runTimeoutS"] = worker.run_timeout_s
    if worker.env:
        values["env"] = dict(worker.env)
    if source is not None:
        values["files"] = [{"configMap": _files_name(plan), "mountPath": place}]
    if kind in OWN_CODE:
        # The engine looks for its module here, without a PYTHONPATH before Python's own modules.
        values["workingDir"] = _FOLDER
    if resources := _resources(plan):
        values["resources"] = resources
    return values | _gpus(plan), source


def _autoscaling(plan: ServicePlan) -> dict[str, Any]:
    autoscaler = Autoscaler.model_validate(plan.settings["autoscaler"])
    behavior = autoscaler.behavior
    windows_s = {
        "scaleUpWindowS": behavior.scale_up.stabilization_window_seconds,
        "scaleDownWindowS": behavior.scale_down.stabilization_window_seconds,
    }
    values: dict[str, Any] = {
        "mode": "scaledObject",
        "min": autoscaler.min,
        "max": autoscaler.max,
        "idleS": max(1, behavior.on_zero.scale_down_grace_period_seconds),
        **{name: min(window_s, _MOST_WINDOW_S) for name, window_s in windows_s.items()},
    }
    for strategy in autoscaler.scale_strategies:
        if strategy.metric is Metric.AVERAGE_BACKLOG:
            values["jobsPerWorker"] = strategy.threshold
    return values


def _untranslated(plan: ServicePlan) -> list[str]:
    """Return what the chart cannot do of the scaling in the file."""
    found = []
    if plan.settings.get("autoscaler"):
        autoscaler = Autoscaler.model_validate(plan.settings["autoscaler"])
        found += [
            str(strategy.metric)
            for strategy in autoscaler.scale_strategies
            if strategy.metric is not Metric.AVERAGE_BACKLOG
        ]
    if plan.settings.get("cronscaler"):
        found.append("cronscaler")
    return found


def _resources(plan: ServicePlan) -> dict[str, Any]:
    """Return what an instance gets, which is also what it may use at most."""
    amounts = {}
    if plan.cpu is not None:
        amounts["cpu"] = f"{plan.cpu:g}"
    if plan.memory_mb is not None:
        amounts["memory"] = f"{plan.memory_mb}M"
    return {"requests": dict(amounts), "limits": amounts} if amounts else {}


def _gpus(plan: ServicePlan) -> dict[str, Any]:
    # A pod has whole GPUs; `gpuResource` names a slice.
    return {"gpus": math.ceil(plan.gpu)} if plan.gpu else {}


def _head(plan: ServicePlan, files: dict[str, str]) -> str:
    lines = [
        f"The service {plan.name}, written by `penstock render kubernetes`.",
        "",
        "  helm upgrade --install penstock deploy/kubernetes -f <this file>",
        "",
        "Name your registry in `image.registry`; docs/kubernetes.md describes every value.",
    ]
    if untranslated := _untranslated(plan):
        lines += ["", f"KEDA scales by the number of jobs; left out: {', '.join(untranslated)}."]
    for name, source in files.items():
        lines += [
            "",
            "The workers find your files in a ConfigMap, which holds 1 MiB; or build an image on",
            "top of penstock/inference-worker and remove `files`.",
            "",
            f"  kubectl create configmap {name} --from-file={source}",
        ]
    if plan.token:
        lines += [
            "",
            "The token of the service.json is not here.  This command reads it from its input:",
            "",
            f"  kubectl create secret generic {_tokens_name(plan)} "
            f"--from-file={plan.name}=/dev/stdin",
        ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"
