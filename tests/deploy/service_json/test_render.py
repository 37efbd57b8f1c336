"""`penstock render compose`: an image runs as it is, beside a worker that sends it the jobs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.service_json.compose import queue_instances, render_compose
from deploy.service_json.plan import read_plan
from queue_service.settings.service import ServiceSettings
from tests.containers.test_files import read

SHIPPED = Path(__file__).parents[3] / "docker-compose.yml"

CHAT: dict[str, Any] = {
    "metadata": {
        "name": "chat",
        "type": "Async",
        "instance": 2,
        "cpu": 4,
        "gpu": 1,
        "memory": 16000,
        "rpc.worker_threads": 4,
        "rpc.keepalive": 90_000,
    },
    "queue.sink.memory_ratio": 0.25,
    "containers": [
        {
            "image": "registry.example.com/chat:1.0",
            "script": "python webui.py --port=8000 --home=$HOME",
            "port": 8000,
            "env": [{"name": "PRICE", "value": "5$"}],
        }
    ],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "service.json"
    path.write_text(json.dumps(CHAT))
    return path


def _render(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "render", "compose", str(file), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_each_instance_is_the_image_as_it_is_beside_a_worker(file: Path, tmp_path: Path) -> None:
    done = _render(file, "-o", str(tmp_path / "compose.yml"))
    assert done.returncode == 0, done.stderr
    assert "containers.image" not in done.stderr, "it is what is used"
    services = yaml.safe_load((tmp_path / "compose.yml").read_text())["services"]
    assert set(services) == {
        "redis",
        "queue-service",
        *("model-1", "inference-worker-1", "model-2", "inference-worker-2"),
    }
    model = services["model-2"]
    assert model["image"] == "registry.example.com/chat:1.0"
    assert model["command"] == ["python webui.py --port=8000 --home=$$HOME"]
    assert model["environment"] == {"PRICE": "5$$"}
    limits = {"cpus": "4", "memory": "16000M", "pids": 2048}
    assert model["deploy"]["resources"]["limits"] == limits
    assert model["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] == ["1"]

    worker = services["inference-worker-2"]["environment"]
    assert worker["PENSTOCK_WORKER_ENGINE"] == "http:http://model-2:8000"
    assert json.loads(worker["PENSTOCK_WORKER_ENGINE_OPTIONS"]) == {"timeout_s": 90.0}
    assert worker["PENSTOCK_WORKER_WORKER_THREADS"] == "4"
    queues = services["queue-service"]["environment"]
    assert queues["PENSTOCK_PROCESSES"] == "2"
    (described,) = json.loads(queues["PENSTOCK_SERVICES"])
    assert described.pop("token") == "${PENSTOCK_TOKEN:-}"
    assert described.pop("worker_token") == "${PENSTOCK_WORKER_TOKEN:-}"
    assert ServiceSettings.model_validate(described).sink_memory_ratio == 0.25


def test_every_container_is_as_hardened_as_those_of_the_shipped_file(
    file: Path, tmp_path: Path
) -> None:
    shipped = yaml.safe_load(SHIPPED.read_text())["services"]
    assert _render(file, "-o", str(tmp_path / "compose.yml")).returncode == 0
    rendered = yaml.safe_load((tmp_path / "compose.yml").read_text())["services"]
    for name, service in rendered.items():
        own_image = name.startswith("model-")
        like = shipped["inference-worker" if own_image else re.sub(r"-\d+$", "", name)]
        kept = ["restart", "cap_drop", "security_opt", "logging"]
        # A foreign image writes where it likes, inside of its container.
        kept += [] if own_image else ["read_only", "tmpfs", "cap_add"]
        assert {key: service.get(key) for key in kept} == {key: like.get(key) for key in kept}, name
        limits = service["deploy"]["resources"]["limits"]
        assert {"memory", "pids"} <= limits.keys()
        if not own_image:
            assert service["deploy"] == like["deploy"], name
    assert rendered["redis"] == shipped["redis"]
    for name in ("queue-service", "inference-worker-1"):
        assert set(rendered[name]["volumes"]) <= set(shipped[name.removesuffix("-1")]["volumes"])


def test_workers_are_given_the_file_of_a_token_that_only_works(file: Path, tmp_path: Path) -> None:
    assert _render(file, "-o", str(tmp_path / "compose.yml")).returncode == 0
    text = (tmp_path / "compose.yml").read_text()
    services = yaml.safe_load(text)["services"]
    for name, service in services.items():
        said = service.get("environment", {})
        assert ("PENSTOCK_WORKER_TOKEN_FILE" in said) == name.startswith("inference-worker")
        tokens = [one for one in service.get("volumes", []) if one.startswith("tokens:")]
        assert bool(tokens) == (name == "queue-service")
    assert "exec queue-service cat /tokens/chat" in text


def test_an_engine_runs_inside_of_the_workers(tmp_path: Path) -> None:
    text = json.dumps(
        {
            "processor": "pmml",
            "model_path": "flowers.pmml",
            "metadata": {"name": "pmmlasync", "type": "Async", "instance": 3},
        }
    )
    plan = read_plan(text)
    rendered = yaml.safe_load(render_compose(plan, worker=plan.worker, folder=tmp_path))
    worker = rendered["services"]["inference-worker"]
    assert worker["deploy"]["replicas"] == 3
    assert worker["environment"]["PENSTOCK_WORKER_ENGINE"] == "pmml:/model/flowers.pmml"
    assert worker["volumes"] == [
        "worker-tokens:/worker-tokens:ro",
        "job-files:/job-files",
        f"{tmp_path}/flowers.pmml:/model/flowers.pmml:ro",
    ]


def test_the_file_says_what_runs_its_autoscaler(tmp_path: Path) -> None:
    document = {"name": "own", "engine": "echo"}
    for more, says in (
        ({}, False),
        ({"autoscaler": {"min": 0, "max": 3}}, True),
        ({"cronscaler": {"ScaleJobs": [{"Schedule": "0 0 8 * * *", "TargetSize": 2}]}}, True),
    ):
        plan = read_plan(json.dumps({**document, **more}))
        text = render_compose(plan, worker=plan.worker, folder=tmp_path)
        assert ("autoscale run --driver docker --project own" in text) is says


def test_a_class_is_left_to_say_its_window(tmp_path: Path) -> None:
    plan = read_plan(json.dumps({"name": "own", "engine": "handler:app:Name"}))
    rendered = yaml.safe_load(render_compose(plan, worker=plan.worker, folder=tmp_path))
    worker = rendered["services"]["inference-worker"]["environment"]
    assert "PENSTOCK_WORKER_WORKER_THREADS" not in worker
    assert worker["PENSTOCK_WORKER_ENGINE"] == "handler:app:Name"


def test_a_folder_of_handlers_never_goes_before_pythons_own_modules(tmp_path: Path) -> None:
    """A `queue.py` in it would take the place of Python's, so it is the working directory."""
    own_code = ("handler:app:Name", "allspark:app:Name", "runpod:app", "cog:app.py:Name")
    for engine, key in (*((one, "working_dir") for one in own_code), ("echo", None)):
        plan = read_plan(json.dumps({"name": "own", "engine": engine}))
        rendered = yaml.safe_load(render_compose(plan, worker=plan.worker, folder=tmp_path))
        worker = rendered["services"]["inference-worker"]
        assert "PYTHONPATH" not in worker["environment"]
        assert worker.get("working_dir") == (key and "/handlers")
        assert (f"{tmp_path}:/handlers:ro" in worker["volumes"]) == bool(key)
    shipped = yaml.safe_load(SHIPPED.read_text())["services"]["inference-worker"]
    assert "PYTHONPATH" not in shipped["environment"]
    assert shipped["working_dir"] == "${PENSTOCK_APP_DIR:+/handlers}"


@pytest.mark.parametrize(("instances", "expected"), [(0, 1), (1, 1), (2, 2), (3, 2), (1000, 2)])
def test_queue_instances_follow_inference_instances(instances: int, expected: int) -> None:
    assert queue_instances(instances) == expected
    assert queue_instances(instances, stopped=True) == 0


def test_no_instances_leave_as_many_as_the_file_says() -> None:
    assert queue_instances(0, min_replica=2) == 2


def test_a_file_that_is_wrong_renders_nothing(file: Path, tmp_path: Path) -> None:
    file.write_text('{"metadata": {"name": "x"}}')
    done = _render(file, "-o", str(tmp_path / "compose.yml"))
    assert done.returncode == 2
    assert "expected one of" in done.stderr
    assert not (tmp_path / "compose.yml").exists()


@pytest.mark.containers
@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker command")
def test_compose_takes_what_was_rendered(file: Path, tmp_path: Path) -> None:
    output = tmp_path / "compose.yml"
    assert _render(file, "-o", str(output)).returncode == 0
    assert read(str(output)).returncode == 0
    done = read(str(output), PENSTOCK_TOKEN="secret")
    assert done.returncode == 0, done.stderr
    assert "registry.example.com/chat:1.0" in done.stdout
    assert '"token": "secret"' in done.stdout
