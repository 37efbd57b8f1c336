"""A compose file from a service.json: Redis, the queue service, and the inference instances.

A container of the file runs unchanged, next to a worker that sends it the jobs over HTTP: one pair
for each instance.  Anything else is an engine in the worker's image.
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from deploy.service_json.gpus import device_ids, gpus_each
from deploy.service_json.hardening import (
    FILES,
    HARDENED,
    JOB_FILES,
    LIMITS,
    REDIS_CAPABILITIES,
    TOKENS,
    WORKER_TOKENS,
    limited,
)
from deploy.service_json.plan import OWN_CODE, ContainerPlan, ServicePlan, WorkerPlan
from deploy.service_json.worker_env import worker_env

#: Where a worker's container finds a folder or a model of this machine.
_FOLDER, _MODEL = "/handlers", "/model"
#: Variables that may hold tokens; an empty one means a generated token.
_TOKENS = {"token": "${PENSTOCK_TOKEN:-}", "worker_token": "${PENSTOCK_WORKER_TOKEN:-}"}
#: A placeholder for each token while every other `$` of the document is escaped.
_GOES_HERE = "here goes the "

_HEARTBEAT = "redis-cli ping | grep -q PONG"


def queue_instances(instances: int, *, min_replica: int = 1, stopped: bool = False) -> int:
    """Return how many processes serve the queues, given the number of inference instances.

    As in PAI EAS: the same number, but at least one and at most two; `min_replica` for a service
    that is scaled to zero; none for a service that is stopped.
    """
    if stopped:
        return 0
    return max(1, min(2, instances)) if instances else min_replica


def render_compose(
    plan: ServicePlan, *, worker: WorkerPlan, folder: Path, gpus: Sequence[str] = ()
) -> str:
    """Return the text of a compose file; raises BadServiceFile if `gpus` are too few.

    worker: what an instance runs if it is not a container.  folder: that of the service.json, which
    is mounted.  gpus: to divide among the instances; by default those with the lowest numbers.
    """
    ids = device_ids(gpus_each(plan.gpu), instances=max(1, plan.instances), given=gpus)
    services: dict[str, Any] = {"redis": _redis(), "queue-service": _queue_service(plan)}
    if plan.container is not None:
        for number in range(1, plan.instances + 1):
            model = f"model-{number}"
            services[model] = _container(plan, plan.container, ids[number - 1])
            engine = f"http:http://{model}:{plan.container.port}"
            options = {
                key: value
                for key, value in plan.worker.engine_options.items()
                if key not in ("script", "port")
            }
            services[f"inference-worker-{number}"] = _worker(plan, engine, options, []) | {
                "depends_on": {
                    "queue-service": {"condition": "service_healthy"},
                    model: {"condition": "service_started"},
                }
            }
    else:
        services |= _workers(plan, worker, folder, ids)
    document = {
        "name": plan.name.lower().replace(".", "-").lstrip("-_"),
        "services": services,
        # Only the queue service reaches Redis; the code of a model never does.
        "networks": {"store": {"internal": True}, "work": {}},
        "volumes": {"redis": {}, "files": {}, "job-files": {}, "tokens": {}, "worker-tokens": {}},
    }
    return _head(plan) + yaml.safe_dump(document, sort_keys=False, width=100)


def _workers(
    plan: ServicePlan, worker: WorkerPlan, folder: Path, ids: list[list[str]]
) -> dict[str, Any]:
    """The instances: replicas of one service, or one service for each if each has its own GPUs."""
    engine, mounts = _inside(worker, folder)

    def instance(gpus: list[str], replicas: int) -> dict[str, Any]:
        one = _worker(plan, engine, dict(worker.engine_options), gpus)
        one["environment"] |= _escaped(worker.env)
        one["volumes"] += mounts
        if any(mount.endswith(f":{_FOLDER}:ro") for mount in mounts):
            # The engine looks for its module here. PYTHONPATH would put the folder before
            # Python's own modules, so that a `queue.py` in it breaks the worker.
            one["working_dir"] = _FOLDER
        one["deploy"] = {"replicas": replicas, **one["deploy"]}
        return one

    if len({tuple(gpus) for gpus in ids}) < 2:
        return {"inference-worker": instance(ids[0] if ids else [], plan.instances)}
    return {f"inference-worker-{number}": instance(gpus, 1) for number, gpus in enumerate(ids, 1)}


def _head(plan: ServicePlan) -> str:
    return (
        f"# The service {plan.name}, written by `penstock render compose`.\n"
        "#\n"
        "#   docker compose -f <this file> up\n"
        "#\n"
        "# The queue service generates a token on the first start, unless PENSTOCK_TOKEN is set:\n"
        "#\n"
        "#   docker compose -f <this file> exec queue-service cat "
        f"{TOKENS}/{plan.name}\n"
        "#\n"
        "# The images penstock/... are built by `docker compose build` in Penstock's folder.\n"
        f"{_how_to_scale(plan)}\n"
    )


def _how_to_scale(plan: ServicePlan) -> str:
    if not plan.settings.get("autoscaler") and not plan.settings.get("cronscaler"):
        return ""
    if plan.container is not None:
        return "#\n# No autoscaler changes the number of instances in this file.\n"
    return (
        "#\n# The autoscaler runs beside it, on this machine:\n#\n"
        f"#   penstock autoscale run --driver docker --project {plan.name} \\\n"
        "#     --url http://127.0.0.1:8080 --admin-token TOKEN   # that of PENSTOCK_ADMIN_TOKEN\n"
    )


def _redis() -> dict[str, Any]:
    return {
        **deepcopy(HARDENED),
        "image": "redis:7-alpine",
        "command": [
            *("redis-server", "--appendonly", "yes"),
            *("--appendfsync", "${REDIS_APPENDFSYNC:-always}"),
            *("--maxmemory", "${REDIS_MAXMEMORY:-5gb}", "--maxmemory-policy", "noeviction"),
            *("--save", ""),
        ],
        "cap_add": list(REDIS_CAPABILITIES),
        "volumes": ["redis:/data"],
        "networks": ["store"],
        "healthcheck": {
            "test": ["CMD-SHELL", _HEARTBEAT],
            "interval": "5s",
            "timeout": "3s",
            "retries": 5,
            "start_period": "60s",
        },
        "stop_grace_period": "30s",
        "deploy": limited("redis"),
    }


def _queue_service(plan: ServicePlan) -> dict[str, Any]:
    places = {name: _GOES_HERE + name for name in _TOKENS}
    services = _escape(json.dumps([{"name": plan.name, **places, **plan.settings}]))
    for name, token in _TOKENS.items():
        services = services.replace(json.dumps(_GOES_HERE + name), json.dumps(token))
    processes = queue_instances(plan.instances, min_replica=plan.min_replica)
    return {
        **deepcopy(HARDENED),
        "image": "${PENSTOCK_QUEUE_SERVICE_IMAGE:-penstock/queue-service}",
        "environment": {
            "PENSTOCK_REDIS_URL": "redis://redis:6379/0",
            "PENSTOCK_SERVICES": services,
            "PENSTOCK_TOKEN_DIR": TOKENS,
            "PENSTOCK_WORKER_TOKEN_DIR": WORKER_TOKENS,
            "PENSTOCK_FILES_DIR": FILES,
            "PENSTOCK_ALLOWED_HOSTS": "queue-service,${PENSTOCK_ALLOWED_HOSTS:-}",
            "PENSTOCK_ALLOWED_ORIGINS": "${PENSTOCK_ALLOWED_ORIGINS:-}",
            "PENSTOCK_ADMIN_TOKEN": "${PENSTOCK_ADMIN_TOKEN:-}",
            "PENSTOCK_PROCESSES": str(max(1, processes)),
        },
        "volumes": [f"tokens:{TOKENS}", f"worker-tokens:{WORKER_TOKENS}", f"files:{FILES}"],
        "networks": ["store", "work"],
        "ports": ["127.0.0.1:${PENSTOCK_PORT:-8080}:8080"],
        "depends_on": {"redis": {"condition": "service_healthy"}},
        "stop_grace_period": "20s",
        "deploy": limited("queue-service"),
    }


def _worker(
    plan: ServicePlan, engine: str, options: dict[str, Any], gpus: list[str]
) -> dict[str, Any]:
    return {
        **deepcopy(HARDENED),
        "image": "${PENSTOCK_INFERENCE_WORKER_IMAGE:-penstock/inference-worker}",
        "environment": {
            **worker_env(
                queue_url="http://queue-service:8080",
                service=plan.name,
                engine=_escape(engine),
                engine_options=_escape(json.dumps(options)),
                window=plan.worker.window,
                run_timeout_s=plan.worker.run_timeout_s,
            ),
            "PENSTOCK_WORKER_TOKEN_FILE": f"{WORKER_TOKENS}/{plan.name}",
            "PENSTOCK_WORKER_FILES_DIR": JOB_FILES,
        },
        "depends_on": {"queue-service": {"condition": "service_healthy"}},
        "volumes": [f"worker-tokens:{WORKER_TOKENS}:ro", f"job-files:{JOB_FILES}"],
        "networks": ["work"],
        "stop_grace_period": "45s",
        "deploy": limited("inference-worker") if plan.container else _limits(plan, gpus),
    }


def _container(plan: ServicePlan, container: ContainerPlan, gpus: list[str]) -> dict[str, Any]:
    """The image, unchanged; the script replaces its command."""
    # Another vendor's image may need to write anywhere and to run as its own user.
    kept = {key: value for key, value in HARDENED.items() if key not in ("read_only", "tmpfs")}
    run: dict[str, Any] = {**deepcopy(kept), "image": container.image, "networks": ["work"]}
    run["cap_add"] = list(REDIS_CAPABILITIES)
    if container.script:
        run |= {"entrypoint": ["/bin/sh", "-c"], "command": [_escape(container.script)]}
    if container.env:
        run["environment"] = _escaped(container.env)
    run["deploy"] = _limits(plan, gpus)
    return run


def _inside(worker: WorkerPlan, folder: Path) -> tuple[str, list[str]]:
    """Return the engine, with paths as in the worker's container, and the mounts."""
    kind, _, target = worker.engine.partition(":")
    if kind == "pmml" and "://" not in target:
        path = folder / target
        return f"pmml:{PurePosixPath(_MODEL) / path.name}", [
            f"{_escape(str(path))}:{PurePosixPath(_MODEL) / path.name}:ro"
        ]
    mounts = [f"{_escape(str(folder))}:{_FOLDER}:ro"] if kind in OWN_CODE else []
    return worker.engine, mounts


def _limits(plan: ServicePlan, gpus: list[str]) -> dict[str, Any]:
    limits: dict[str, Any] = dict(LIMITS["inference-worker"])
    if plan.cpu is not None:
        limits["cpus"] = f"{plan.cpu:g}"
    if plan.memory_mb is not None:
        limits["memory"] = f"{plan.memory_mb}M"
    resources: dict[str, Any] = {"limits": limits}
    if gpus:
        # Not a count: each container would get the first GPUs of the machine.
        device = {"driver": "nvidia", "device_ids": list(gpus), "capabilities": ["gpu"]}
        resources["reservations"] = {"devices": [device]}
    return {"resources": resources}


def _escaped(env: dict[str, str]) -> dict[str, str]:
    return {name: _escape(value) for name, value in env.items()}


def _escape(text: str) -> str:
    """Escape `$`, which starts a variable in a compose file."""
    return text.replace("$", "$$")
