"""`penstock render kubernetes`: values from a service.json, which the chart accepts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.service_json.kubernetes import render_values
from deploy.service_json.plan import read_plan
from queue_service.settings.service import ServiceSettings
from tests.deploy.kubernetes.chart import (
    Document,
    containers,
    needs_helm,
    of_kind,
    pods,
    template,
    variables,
)

CHAT: dict[str, Any] = {
    "metadata": {
        "name": "Chat",
        "type": "Async",
        "instance": 2,
        "cpu": 4,
        "gpu": 1,
        "memory": 16000,
        "rpc.worker_threads": 4,
        "rpc.keepalive": 90_000,
    },
    "token": "a-secret-of-the-file",
    "queue": {"sink.memory_ratio": 0.25, "min_replica": 2, "retry": {"max_attempts": 4}},
    "autoscaler": {
        "min": 0,
        "max": 7,
        "strategies": {"queue[avgbacklog]": 8, "qps": 3},
        "behavior": {
            "scaleDown": {"stabilizationWindowSeconds": 7200},
            "onZero": {"scaleDownGracePeriodSeconds": 0},
        },
    },
    "containers": [
        {
            "image": "registry.example.com/chat:1.0",
            "script": "python webui.py --port=8000 --home=$HOME",
            "port": 8000,
            "env": [{"name": "PRICE", "value": "5$"}],
        }
    ],
}


def _values(document: Document, folder: Path) -> Document:
    plan = read_plan(json.dumps(document))
    values: Document = yaml.safe_load(render_values(plan, worker=plan.worker, folder=folder))
    return values


def _command(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "render", "kubernetes", str(file), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@needs_helm()
def test_a_container_becomes_a_sidecar_with_the_gpu_and_the_limits(tmp_path: Path) -> None:
    file, output = tmp_path / "service.json", tmp_path / "values.yaml"
    file.write_text(json.dumps(CHAT))
    done = _command(file, "-o", str(output))
    assert done.returncode == 0, done.stderr
    assert "a-secret-of-the-file" not in output.read_text()
    assert "left out: qps" in output.read_text()
    found = template(yaml.safe_load(output.read_text()))
    pod = pods(found)["ours-penstock-worker-chat"]
    model = containers(pod)["model"]
    assert model["image"] == "registry.example.com/chat:1.0"
    assert variables(model, {}) == {"PRICE": "5$"}
    assert model["command"] == ["/bin/sh", "-c", "python webui.py --port=8000 --home=$$HOME"]
    assert model["resources"]["limits"] == {"cpu": "4", "memory": "16000M", "nvidia.com/gpu": 1}
    worker = variables(containers(pod)["inference-worker"], {})
    assert worker["PENSTOCK_WORKER_ENGINE"] == "http:http://127.0.0.1:8000"
    assert json.loads(worker["PENSTOCK_WORKER_ENGINE_OPTIONS"]) == {"timeout_s": 90}
    assert worker["PENSTOCK_WORKER_WORKER_THREADS"] == "4"
    assert worker["PENSTOCK_WORKER_GRACE_S"] == "90"
    queue = of_kind(found, "Deployment", "-queue")
    (container,) = queue["spec"]["template"]["spec"]["containers"]
    (said,) = [one["value"] for one in container["env"] if one["name"] == "PENSTOCK_SERVICES"]
    (described,) = json.loads(said)
    settings = ServiceSettings.model_validate(described)
    assert settings.sink_memory_ratio == 0.25
    assert settings.retry is not None
    assert settings.autoscaler is None, "KEDA scales"
    scaled = of_kind(found, "ScaledObject")["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 7)
    assert scaled["cooldownPeriod"] == 1
    advanced = scaled["advanced"]
    assert (
        advanced["scalingModifiers"]["formula"] == "max((deliverable + running) / 8, running / 4)"
    )
    behavior = advanced["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"] == {"stabilizationWindowSeconds": 3600}


@needs_helm()
def test_an_engine_gets_its_files_from_a_config_map(tmp_path: Path) -> None:
    own = {"metadata": {"name": "own", "gpu": 2, "cpu": 1}, "engine": "handler:app:Name"}
    model = {"metadata": {"name": "flowers"}, "processor": "pmml", "model_path": "f.pmml"}
    services = _values(own, tmp_path)["services"] | _values(model, tmp_path)["services"]
    found = pods(template({"services": services}))
    for name, place, engine, folder in (
        ("own", "/handlers", "handler:app:Name", "/handlers"),
        ("flowers", "/model", "pmml:/model/f.pmml", None),
    ):
        pod = found[f"ours-penstock-worker-{name}"]
        worker = containers(pod)["inference-worker"]
        assert variables(worker, {})["PENSTOCK_WORKER_ENGINE"] == engine
        assert worker.get("workingDir") == folder
        (mount,) = [one for one in worker["volumeMounts"] if one["name"] == "files-0"]
        assert (mount["mountPath"], mount["readOnly"]) == (place, True)
        (volume,) = [one for one in pod["volumes"] if one["name"] == "files-0"]
        assert volume["configMap"] == {"name": f"{name}-files"}
    limits = containers(found["ours-penstock-worker-own"])["inference-worker"]["resources"]
    assert limits["limits"] == {"cpu": "1", "memory": "8Gi", "nvidia.com/gpu": 2}
    assert limits["requests"] == {"cpu": "1", "memory": "1Gi"}


def test_the_file_says_how_to_make_what_it_names(tmp_path: Path) -> None:
    document = {"name": "A.b", "token": "secret", "engine": "handler:app:Name"}
    plan = read_plan(json.dumps(document))
    text = render_values(plan, worker=plan.worker, folder=tmp_path)
    assert f"kubectl create configmap a-b-files --from-file={tmp_path}" in text
    assert "kubectl create secret generic a-b-tokens --from-file=A.b=/dev/stdin" in text
    assert "secret\n" not in text
    values = yaml.safe_load(text)
    assert values["tokens"] == {"clients": "a-b-tokens"}
    assert "window" not in values["services"]["A.b"]["worker"]


@pytest.mark.parametrize("option", [(), ("-o", "values.yaml")])
def test_a_file_that_is_wrong_renders_nothing(tmp_path: Path, option: tuple[str, ...]) -> None:
    file = tmp_path / "service.json"
    file.write_text('{"metadata": {"name": "x"}}')
    done = _command(file, *(str(tmp_path / one) if "." in one else one for one in option))
    assert done.returncode == 2
    assert "expected one of" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "values.yaml").exists()
