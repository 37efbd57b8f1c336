"""GPUs in local mode and in compose files, on a stub machine."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from deploy.admin import AdminApi
from deploy.commands.gpu_options import divided, worker_gpus
from deploy.errors import BadServiceFile, GpusRefused
from deploy.local.wish import WorkerGpus
from deploy.service_json.compose import render_compose
from deploy.service_json.gpus import GpusEach, device_ids, gpus_each
from deploy.service_json.plan import read_plan
from inference_worker.gpu.devices import Gpu
from tests.deploy.local_mode import StartUp, Up, penstock
from tests.gpus import MODEL, StubGpus, uuid
from tests.waiting import wait_until_blocking

GPUS = [Gpu(number, f"GPU-{number}", MODEL) for number in range(4)]


def test_workers_divide_the_gpus() -> None:
    visible = "GPU-0,GPU-1,GPU-2,GPU-3"
    assert divided(GPUS, per_worker=1, per_gpu=1) == (WorkerGpus(count=1, visible=visible), 4)
    assert divided(GPUS, per_worker=2, per_gpu=1) == (WorkerGpus(count=2, visible=visible), 2)
    shared = WorkerGpus(count=1, shares=2, visible="GPU-0")
    assert divided(GPUS[:1], per_worker=1, per_gpu=2) == (shared, 2)
    assert shared.environment() == {
        "PENSTOCK_WORKER_GPUS": "1",
        "PENSTOCK_WORKER_GPU_SHARES": "2",
        "CUDA_VISIBLE_DEVICES": "GPU-0",
    }
    assert WorkerGpus().environment() == {}


def test_gpus_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(typer.BadParameter, match="expected a multiple of 3 GPUs, got 4"):
        divided(GPUS, per_worker=3, per_gpu=1)
    with pytest.raises(typer.BadParameter, match="one MIG slice"):
        divided([Gpu(0, "MIG-a", MODEL, 0), Gpu(0, "MIG-b", MODEL, 1)], per_worker=2, per_gpu=1)
    assert worker_gpus("", per_worker=1, per_gpu=1) == (WorkerGpus(), 0)
    with pytest.raises(typer.BadParameter, match="need --gpus"):
        worker_gpus("", per_worker=2, per_gpu=1)
    monkeypatch.setenv("PATH", StubGpus(tmp_path / "machine", 2).path)
    every = WorkerGpus(count=1, visible=f"{uuid(0)},{uuid(1)}")
    assert worker_gpus("ALL", per_worker=1, per_gpu=1) == (every, 2)
    both = WorkerGpus(count=2, visible=f"{uuid(1)},{uuid(0)}")
    assert worker_gpus("1, 0", per_worker=2, per_gpu=1) == (both, 1)
    for wrong in ("2", "0-1", "x"):
        with pytest.raises(GpusRefused, match=re.escape(repr(wrong))):
            worker_gpus(wrong, per_worker=1, per_gpu=1)
    with pytest.raises(typer.BadParameter, match="expected all, or numbers"):
        worker_gpus(",", per_worker=1, per_gpu=1)


def test_all_means_those_that_cuda_visible_devices_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", StubGpus(tmp_path / "machine", 4).path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    allowed = WorkerGpus(count=1, visible=f"{uuid(3)},{uuid(1)}")
    assert worker_gpus("all", per_worker=1, per_gpu=1) == (allowed, 2)
    # What an option names wins over the environment.
    named = WorkerGpus(count=1, visible=uuid(0))
    assert worker_gpus("0", per_worker=1, per_gpu=1) == (named, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(GpusRefused, match="CUDA_VISIBLE_DEVICES hides all"):
        worker_gpus("all", per_worker=1, per_gpu=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(GpusRefused, match="got '7'"):
        worker_gpus("all", per_worker=1, per_gpu=1)


@pytest.mark.parametrize(
    ("gpu", "each"),
    [
        (None, GpusEach()),
        (0, GpusEach()),
        (1, GpusEach(1)),
        (1.5, GpusEach(2)),
        (4, GpusEach(4)),
        (0.5, GpusEach(1, 2)),
        (0.33, GpusEach(1, 3)),
        (0.9, GpusEach(1, 1)),
        (0.1, GpusEach(1, 10)),
        (1e-9, GpusEach(1, 64)),
    ],
)
def test_metadata_gpu_may_be_a_part_of_one(gpu: float | None, each: GpusEach) -> None:
    assert gpus_each(gpu) == each


def test_instances_of_a_compose_file_have_different_gpus() -> None:
    assert device_ids(GpusEach(), instances=2) == [[], []]
    assert device_ids(GpusEach(1), instances=3) == [["0"], ["1"], ["2"]]
    assert device_ids(GpusEach(2), instances=2) == [["0", "1"], ["2", "3"]]
    assert device_ids(GpusEach(1, 2), instances=3) == [["0"], ["0"], ["1"]]
    assert device_ids(GpusEach(1), instances=2, given=["7", "GPU-x"]) == [["7"], ["GPU-x"]]
    with pytest.raises(BadServiceFile, match="expected 4 GPUs for 2 instances, got 3: 1, 2, 3"):
        device_ids(GpusEach(2), instances=2, given=["1", "2", "3"])


def _rendered(folder: Path, instances: int, gpu: float, **more: Any) -> dict[str, Any]:
    metadata = {"name": "svc", "instance": instances, "gpu": gpu}
    plan = read_plan(json.dumps({"metadata": metadata, "engine": "handler:m:f"}))
    text = render_compose(plan, worker=plan.worker, folder=folder, **more)
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return {
        name: [
            one["deploy"]["replicas"],
            *(
                device["device_ids"]
                for device in one["deploy"]["resources"].get("reservations", {}).get("devices", [])
            ),
        ]
        for name, one in services.items()
        if name.startswith("inference-worker")
    }


def test_workers_of_a_compose_file_are_replicas_only_on_the_same_gpus(tmp_path: Path) -> None:
    assert _rendered(tmp_path, 3, 0) == {"inference-worker": [3]}
    assert _rendered(tmp_path, 2, 0.5) == {"inference-worker": [2, ["0"]]}
    assert _rendered(tmp_path, 0, 1) == {"inference-worker": [0, ["0"]]}
    assert _rendered(tmp_path, 2, 2, gpus=["4", "5", "6", "7"]) == {
        "inference-worker-1": [1, ["4", "5"]],
        "inference-worker-2": [1, ["6", "7"]],
    }


def _shown(up: Up) -> dict[str, str]:
    """Return the GPU of each worker that accepts jobs, by its service."""
    running = up.ready()
    described = AdminApi(running.url, running.admin_token).ask("GET", "/v1/services")["services"]
    return {
        f"{one['name']}-{number}": subscriber["about"]["gpu"]
        for one in described
        for number, subscriber in enumerate(
            sorted(one["input"]["subscribers"], key=lambda found: str(found["about"]["gpu"]))
        )
        if subscriber["connected"] and subscriber["window"]
    }


def _service(folder: Path, name: str, *, instances: int = 1, gpu: float = 1) -> str:
    file = folder / f"{name}.json"
    metadata = {"name": name, "instance": instances, "gpu": gpu}
    file.write_text(json.dumps({"metadata": metadata, "processor": "echo"}))
    return str(file)


@pytest.mark.timeout(240)
def test_workers_and_services_of_local_mode_share_the_gpus_of_the_machine(
    start_up: StartUp, tmp_path: Path
) -> None:
    gpus = StubGpus(tmp_path / "machine", 4)
    up = start_up(
        *("--gpus", "0,2"),
        PATH=gpus.path,
        PENSTOCK_WORKER_GPU_DIR=str(gpus.locks),
        PENSTOCK_WORKER_GPU_HEALTH="false",
    )
    wait_until_blocking(
        lambda: _shown(up) == {"demo-0": f"{MODEL} (GPU 0)", "demo-1": f"{MODEL} (GPU 2)"},
        "both workers have their GPUs",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", gpus.path)
        made = penstock(up, "create", _service(tmp_path, "free"))
        assert made.returncode == 0, made.stderr
        assert _shown(up)["free-0"] == f"{MODEL} (GPU 1)"

        full = penstock(up, "create", _service(tmp_path, "full", instances=2))
        assert full.returncode == 1
        said = " ".join(full.stderr.decode().split())
        # Which of the two workers of demo came first is open.
        for words in (
            "GPU 0 is held by worker-",
            "GPU 1 is held by free-1 of free",
            "GPU 2 is held by worker-",
            "GPU 3 is held by another instance of full",
        ):
            assert words in said, said
        scaled = penstock(up, "scale", "free", "2")
        assert scaled.returncode == 0, scaled.stderr
        assert _shown(up)["free-1"] == f"{MODEL} (GPU 3)"
        beyond = penstock(up, "scale", "free", "3")
        assert "an instance of free would wait for a free GPU of 4" in " ".join(
            beyond.stderr.decode().split()
        )
        # Its own workers give theirs back before new ones start.
        again = penstock(up, "restart", "free")
        assert again.returncode == 0, again.stderr
        assert penstock(up, "delete", "free", "--yes").returncode == 0
        made = penstock(up, "create", _service(tmp_path, "halves", instances=4, gpu=0.5))
        assert made.returncode == 0, made.stderr
        halves = [gpu for name, gpu in _shown(up).items() if name.startswith("halves")]
        assert sorted(halves) == [f"{MODEL} (GPU {number})" for number in (1, 1, 3, 3)]

    # A worker that is killed comes back to its own GPU.
    (first, *_) = up.wait_for("inference_worker", count=6)
    before = up.log.count("The worker has")
    os.kill(first, signal.SIGKILL)
    wait_until_blocking(lambda: up.log.count("The worker has") > before, "it is started again")
    wait_until_blocking(lambda: len(_shown(up)) == 6, "all work again")
    assert sorted(_shown(up).values()) == sorted(
        f"{MODEL} (GPU {number})" for number in (0, 1, 1, 2, 3, 3)
    )


@pytest.mark.timeout(120)
def test_a_machine_without_gpus_runs_the_service_without_one(
    start_up: StartUp, tmp_path: Path
) -> None:
    up = start_up("--workers", "0")
    up.ready()
    made = penstock(up, "create", _service(tmp_path, "lonely"))
    assert made.returncode == 0, made.stderr
    assert b"metadata.gpu: this machine has no NVIDIA GPU" in made.stderr


def test_options_that_contradict_each_other_are_refused(start_up: StartUp) -> None:
    up = start_up("--gpus-per-worker", "2")
    assert up.process.wait(60) == 2
    assert "need --gpus" in up.log
