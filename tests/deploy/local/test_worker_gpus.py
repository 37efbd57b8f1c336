"""`penstock worker --gpus`: one command starts a worker for each GPU, and keeps it alive."""

import asyncio
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client_sdk import AsyncQueueClient
from deploy.admin import AdminApi, service_path
from deploy.cli import app
from deploy.commands.worker import own_settings
from tests.conftest import StartService
from tests.deploy.processes import descendants
from tests.gpus import MODEL, StubGpus
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess, ServerProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(240)

WORKER_TOKEN = "a-token-for-workers"
START_S = 60.0

Join = Callable[..., ServerProcess]


@pytest.fixture
async def service(start_service: StartService) -> QueueServiceProcess:
    return await start_service({"name": "svc", "worker_token": WORKER_TOKEN})


@pytest.fixture
def gpus(tmp_path: Path) -> StubGpus:
    return StubGpus(tmp_path / "machine", 3)


@pytest.fixture
def join(
    service: QueueServiceProcess, gpus: StubGpus, tmp_path: Path, processes: list[ServerProcess]
) -> Join:
    """Run `penstock worker` on the stub machine with these options."""

    def run(*options: str, token: str = WORKER_TOKEN, **env: str) -> ServerProcess:
        secret = tmp_path / "worker-token"
        secret.write_text(token)
        started = ServerProcess(
            [
                *("-m", "deploy.cli", "worker", "--url", service.url, "--service", "svc"),
                *("--token-file", str(secret), *options),
            ],
            env={
                "PATH": gpus.path,
                "PENSTOCK_WORKER_GPU_DIR": str(gpus.locks),
                "PENSTOCK_WORKER_GPU_HEALTH": "false",
                **env,
            },
            log_path=tmp_path / f"join-{len(processes)}.log",
            ready_url="",
        )
        processes.append(started)
        started.spawn()
        return started

    return run


async def connected(service: QueueServiceProcess) -> list[dict[str, Any]]:
    described = await AdminApi(service.url, ADMIN_TOKEN).ask_async("GET", service_path("svc"))
    subscribers: list[dict[str, Any]] = described["input"]["subscribers"]
    return [one for one in subscribers if one["connected"] and one["window"]]


async def until_they_work(service: QueueServiceProcess, *numbers: int) -> dict[str, int]:
    """Wait until each of these GPUs has its worker; return their process ids by their names."""

    async def work() -> dict[str, int] | None:
        there = await connected(service)
        held = sorted(one["about"]["gpu"] for one in there)
        if held != [f"{MODEL} (GPU {number})" for number in numbers]:
            return None
        return {one["uid"].rsplit("-", 2)[0]: one["about"]["pid"] for one in there}

    return await wait_until(work, f"workers on the GPUs {numbers}", START_S)


async def until_ended(process: ServerProcess) -> int:
    await wait_until(lambda: not process.running, "the command has ended", START_S)
    assert process.process is not None
    code: int | None = process.process.returncode
    assert code is not None
    return code


async def test_each_gpu_has_a_worker_that_is_started_again_when_it_dies(
    service: QueueServiceProcess, join: Join
) -> None:
    command = join("--gpus", "all", "--name", "box")
    pids = await until_they_work(service, 0, 1, 2)
    assert sorted(pids) == ["box-1", "box-2", "box-3"]
    os.kill(pids["box-2"], signal.SIGKILL)
    await wait_until(lambda: "killed by signal 9; starting again" in command.log, "it notices")

    async def is_back() -> bool:
        return (await until_they_work(service, 0, 1, 2))["box-2"] != pids["box-2"]

    await wait_until(is_back, "the worker is back on its GPU", START_S)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit(b"hello")
        assert await client.jobs.result(job.id, timeout_s=30) == b"hello"
        await client.jobs.delete(job.id)

    os.kill(command.pid, signal.SIGINT)
    assert await until_ended(command) == 0, command.log
    assert "SIGINT: stopping; send it again to stop at once" in command.log
    assert not await connected(service)


async def test_a_second_signal_ends_them_at_once(service: QueueServiceProcess, join: Join) -> None:
    command = join(
        *("--gpus", "0,2", "--grace", "600", "--engine-options", '{"delay_s": 600}'),
    )
    await until_they_work(service, 0, 2)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit(b"long")

        async def runs() -> bool:
            return any(one["held"] for one in await connected(service))

        await wait_until(runs, "the job runs")
        os.kill(command.pid, signal.SIGTERM)
        await wait_until(lambda: command.log.count("SIGTERM: leaving.") == 2, "both are leaving")
        os.kill(command.pid, signal.SIGTERM)
        assert await until_ended(command) == 0, command.log
        assert (await client.jobs.get(job.id)).state == "queued"
        await client.jobs.cancel(job.id)
        await client.jobs.delete(job.id)


async def test_workers_that_are_asked_to_leave_are_not_started_again(
    service: QueueServiceProcess, join: Join
) -> None:
    command = join("--gpus", "all")
    await until_they_work(service, 0, 1, 2)
    leave, admin = service_path("svc", "/workers/leave"), AdminApi(service.url, ADMIN_TOKEN)
    await admin.ask_async("POST", leave, {"count": 1})
    await wait_until(lambda: "exited with 0; not restarted" in command.log, "one has left")
    assert len(await connected(service)) == 2
    await admin.ask_async("POST", leave, {"count": 2})
    assert await until_ended(command) == 0, command.log


async def test_when_the_command_is_killed_its_workers_die_too(
    service: QueueServiceProcess, join: Join
) -> None:
    command = join("--gpus", "all")
    pids = set((await until_they_work(service, 0, 1, 2)).values())
    assert pids <= set(descendants(command.pid))
    command.kill()
    await wait_until(
        lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids), "none is left"
    )


async def test_one_gpu_needs_no_supervisor(service: QueueServiceProcess, join: Join) -> None:
    command = join("--gpus", "1", "--name", "box")
    assert await until_they_work(service, 1) == {"box": command.pid}


async def test_what_all_workers_refuse_ends_the_command(join: Join) -> None:
    command = join("--gpus", "all", token="wrong")
    assert await until_ended(command) == 1
    assert command.log.count("UNAUTHORIZED") == 3
    assert re.search(r"worker-\d ended with 1; see its output above", command.log)


async def test_a_gpu_that_another_worker_has_is_waited_for(
    service: QueueServiceProcess, join: Join
) -> None:
    first = join("--gpus", "1", "--name", "first")
    await until_they_work(service, 1)
    second = join("--gpus", "all", "--name", "second")
    await until_they_work(service, 0, 1, 2)
    await wait_until(lambda: "waits for a free GPU of 3" in second.log, "the third worker waits")
    await asyncio.to_thread(first.stop_blocking)
    pids = await until_they_work(service, 0, 1, 2)
    assert sorted(pids) == ["second-1", "second-2", "second-3"]


GOOD = ["worker", "--url", "http://127.0.0.1:9", "--service", "svc"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--gpus", "7"], "got '7'"),
        (["--gpus", ","], "expected all, or numbers like 0,1,3"),
        (["--gpus-per-worker", "2"], "need --gpus"),
        (["--gpus", "all", "--gpus-per-worker", "2"], "expected a multiple of 2 GPUs, got 3"),
        (["--gpus", "all", "--device", "cuda:1"], "each worker sees its own GPUs as cuda:0"),
        (["--gpus", "all", "--metrics-port", "65534"], "expected at most 65533 for 3 workers"),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_starts(
    gpus: StubGpus, monkeypatch: pytest.MonkeyPatch, options: list[str], sentence: str
) -> None:
    monkeypatch.setenv("PATH", gpus.path)
    ended = CliRunner().invoke(app, [*GOOD, *options], env={"COLUMNS": "400"})
    assert ended.exit_code != 0
    assert sentence in f"{ended.output} {ended.exception}"


def test_each_of_several_workers_has_its_own_name_and_port() -> None:
    env = {"PENSTOCK_WORKER_NAME": "n" * 64, "PENSTOCK_WORKER_METRICS_PORT": "9090"}
    assert own_settings(env, 10) == {
        "PENSTOCK_WORKER_NAME": "n" * 61 + "-10",
        "PENSTOCK_WORKER_METRICS_PORT": "9099",
    }
    assert own_settings({}, 1)["PENSTOCK_WORKER_METRICS_PORT"] == "0"
