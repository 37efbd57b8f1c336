"""`penstock worker`: one command on a machine makes it work for a queue service elsewhere."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_sdk import AsyncQueueClient
from deploy.admin import AdminApi, service_path
from deploy.cli import app
from tests.conftest import StartService
from tests.inference_worker.conftest import HANDLERS
from tests.running import ADMIN_TOKEN, TOKEN, ServerProcess, free_port
from tests.waiting import wait_until

JoinMachine = Callable[..., ServerProcess]

WORKER_TOKEN = "a-token-for-workers"
SERVICE: dict[str, object] = {"name": "svc", "worker_token": WORKER_TOKEN}


@pytest.fixture
def token_file(tmp_path: Path) -> Callable[[str], str]:
    """Write a token to a file, and return its path."""

    def write(token: str) -> str:
        path = tmp_path / "worker-token"
        path.write_text(f"{token}\n")
        return str(path)

    return write


@pytest.fixture
def join(tmp_path: Path, processes: list[ServerProcess]) -> JoinMachine:
    """Run `penstock worker` with these options; it is ready once its metrics port answers."""

    def run(*options: str, **env: str) -> ServerProcess:
        port = free_port()
        started = ServerProcess(
            ["-m", "deploy.cli", "worker", *options, "--metrics-port", str(port)],
            env=env,
            log_path=tmp_path / f"join-{len(processes)}.log",
            ready_url=f"http://127.0.0.1:{port}/readyz",
        )
        processes.append(started)
        started.spawn()
        return started

    return run


async def refused(worker: ServerProcess) -> str:
    await wait_until(lambda: not worker.running, "the worker has ended", 60)
    assert worker.process is not None
    assert worker.process.returncode == 1
    return worker.log


async def test_one_command_joins(
    start_service: StartService, join: JoinMachine, token_file: Callable[[str], str]
) -> None:
    service = await start_service(SERVICE)
    worker = join(
        *("--url", service.url, "--service", "svc", "--token-file", token_file(WORKER_TOKEN)),
        *("--name", "rack 1/gpu-0", "--window", "3", "--engine-options", '{"delay_s": 0}'),
        # What the options say wins over what the machine's environment says.
        PENSTOCK_WORKER_TOKEN="of another service",
        PENSTOCK_WORKER_SERVICE="other",
    )
    await wait_until(worker.ready, "the worker is connected", 60)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit(b"hello")
        assert await client.jobs.result(job.id, timeout_s=30) == b"hello"
        await client.jobs.delete(job.id)
    admin = AdminApi(service.url, ADMIN_TOKEN)
    described = await admin.ask_async("GET", service_path("svc"))
    (subscriber,) = described["input"]["subscribers"]
    assert subscriber["uid"].startswith(f"rack-1-gpu-0-{worker.pid}-")
    # The command is the worker: a signal of systemd, Docker or the terminal reaches it directly.
    os.kill(worker.pid, signal.SIGINT)
    await wait_until(lambda: not worker.running, "the worker has left")
    assert worker.process is not None
    assert worker.process.returncode == 0, worker.log


@pytest.mark.parametrize(
    "case",
    [
        ("svc", "wrong", "--service and --token-file of `penstock worker`"),
        ("swc", WORKER_TOKEN, "there is no service 'swc'; did you mean 'svc'?"),
        ("swc", "wrong", "check PENSTOCK_WORKER_SERVICE, which is 'swc'"),
    ],
)
async def test_what_the_queue_service_refuses_is_reported_while_the_model_loads(
    start_service: StartService,
    join: JoinMachine,
    token_file: Callable[[str], str],
    case: tuple[str, str, str],
) -> None:
    service_name, token, sentence = case
    service = await start_service(SERVICE)
    worker = join(
        *("--url", service.url, "--service", service_name, "--token-file", token_file(token)),
        *("--engine", f"{HANDLERS}:LoadsForever"),
    )
    log = await refused(worker)
    assert sentence in log
    assert token not in log


async def test_a_queue_machine_that_is_off_is_named_and_waited_for(
    join: JoinMachine, start_service: StartService, token_file: Callable[[str], str]
) -> None:
    service = await start_service({"name": "svc", "worker_token": "another"})
    await service.stop()
    worker = join(
        *("--url", service.url, "--service", "svc"),
        *("--token-file", token_file(WORKER_TOKEN), "--engine", f"{HANDLERS}:LoadsForever"),
    )
    sentence = f"cannot connect to 127.0.0.1:{service.port}: Connection refused"
    await wait_until(lambda: sentence in worker.log, "it says what is wrong", 60)
    assert worker.running
    # The wrong token is noticed as soon as the machine is there.
    await service.start()
    assert "UNAUTHORIZED" in await refused(worker)
    assert worker.log.count(sentence) == 1


GOOD = ["worker", "--url", "http://127.0.0.1:9", "--service", "svc"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["worker"], "Missing option '--url'"),
        (GOOD[:3], "Missing option '--service'"),
        (["worker", "--url", "queue:8080", "--service", "svc"], "expected the URL of a queue"),
        ([*GOOD, "--token-file", "none"], "expected a file with a token, cannot read"),
        ([*GOOD, "--token-file", "empty"], "is empty"),
        ([*GOOD, "--token-file", "."], "Is a directory"),
        (GOOD, "got 'overruled by the option'"),
        ([*GOOD, "--ca-file", "empty"], "it holds no certificate"),
        (["--ca-file", "empty", *GOOD], "it holds no certificate"),
        ([*GOOD, "--engine", "handler:none.py:Class"], "a Python file at none.py"),
        ([*GOOD, "--engine-options", "{"], "the options of an engine are JSON"),
        ([*GOOD, "--window", "0"], "--window"),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    # The command sets it for its children, so the test puts it back.
    monkeypatch.setenv("PENSTOCK_CA_FILE", "")
    monkeypatch.setenv("PENSTOCK_WORKER_CA_FILE", "overruled by the option")
    (tmp_path / "empty").touch()
    ended = CliRunner().invoke(app, arguments, env={"COLUMNS": "400"})
    assert ended.exit_code == 2, ended.output
    assert sentence in ended.output
