"""The service of `penstock up` is one like those of `penstock create`."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from client_sdk import AsyncQueueClient, QueueClient
from deploy.admin import AdminApi
from deploy.local.data_dir import DataDir
from deploy.local.redis_server import RedisServer
from tests.deploy.local_mode import START_S, Cli, StartUp
from tests.running import QueueServiceProcess, service_env
from tests.waiting import wait_until_blocking

pytestmark = pytest.mark.timeout(240)


def of(cli: Cli, name: str = "demo") -> dict[str, Any]:
    """Return what the admin API has of a service."""
    admin = AdminApi(cli.running.url, cli.running.admin_token)
    found: dict[str, Any] = admin.ask("GET", f"/v1/services/{name}")
    return found


def test_changes_since_the_last_start_stay_unless_an_option_is_given(start_up: StartUp) -> None:
    up = start_up()
    cli = Cli(up)
    before = of(cli)
    assert (before["origin"], before["settings"]["memory"]) == ("registry", 4000)
    admin = AdminApi(cli.running.url, cli.running.admin_token)
    changed = {**before["settings"], "memory": 200, "max_delivery": 7}
    changed = admin.ask("PUT", "/v1/services/demo", changed)
    cli("scale", "demo", "2")
    assert up.end() == 0

    up = start_up()
    assert of(Cli(up))["revision"] == changed["revision"], "nothing is written without a change"
    up.wait_for("inference_worker", count=2)
    said = "keeps earlier changes (2 workers, the setting memory); give an option to override"
    wait_until_blocking(lambda: said in up.log, "it is said", START_S)
    assert up.end() == 0

    up = start_up("--workers", "1", "--memory-mb", "300")
    found = of(Cli(up))
    up.wait_for("inference_worker", count=1)
    assert (found["settings"]["memory"], found["settings"]["max_delivery"]) == (300, 7)
    assert "keeps earlier changes" not in up.log


def test_up_leaves_a_service_that_it_made_under_another_name(start_up: StartUp) -> None:
    up = start_up("--service", "first", "--workers", "1")
    cli = Cli(up)
    made = of(cli, "first")
    token = cli.running.token
    assert up.end() == 0

    up = start_up("--service", "second", "--workers", "0", "--max-payload-kb", "64")
    cli = Cli(up)
    assert of(cli, "first")["revision"] == made["revision"]
    assert "start first` starts them" in up.log
    assert not up.running("inference_worker")
    with QueueClient(cli.running.url, "first", token=token) as client:
        receipt = client.put("waits")
        cli("start", "first")
        (frame,) = client.sink.get(request_id=receipt.request_id, timeout_s=30)
        assert frame.data == b"waits"
    assert of(cli, "first")["revision"] == made["revision"]


async def _put_with_older_version(home: DataDir, log_path: Path) -> None:
    """Put a job as before, when the environment of the queue service described the service."""
    redis = RedisServer(home.redis)
    await redis.start()
    env = service_env(
        redis_url=redis.url,
        key_prefix="ps",
        services=[{"name": "demo", "token": home.token("token")}],
    )
    service = QueueServiceProcess(env, log_path=log_path)
    await service.start()
    try:
        async with AsyncQueueClient(service.url, "demo", token=home.token("token")) as client:
            await client.put("kept")
    finally:
        await service.stop()
        await redis.stop()


def test_jobs_of_an_older_version_are_still_there(start_up: StartUp, tmp_path: Path) -> None:
    home = DataDir(tmp_path / "data")
    home.path.mkdir(mode=0o700)
    asyncio.run(_put_with_older_version(home, tmp_path / "older.log"))
    up = start_up("--workers", "0")
    running = up.ready()
    with QueueClient(running.url, "demo", token=running.token) as client:
        (frame,) = client.get()
        assert frame.data == b"kept"


def test_commands_change_the_service_of_up_as_any_other(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up()
    cli = Cli(up)
    token = cli.running.token
    # Workers that fail because of a change do not end everything else.
    (tmp_path / "broken.py").write_text("1 / 0\n")
    file = tmp_path / "demo.json"
    file.write_text(json.dumps({"metadata": {"name": "demo"}, "processor_entry": "broken.py:A"}))
    failed = cli("modify", str(file), code=1)
    assert "division by zero" in failed["local"]["instances"][0]["reason"]
    (tmp_path / "broken.py").write_text("class A:\n    def predict(self, x): return x + b'!'\n")
    cli("modify", str(file))
    with QueueClient(cli.running.url, "demo", token=token) as client:
        receipt = client.put("works")
        (frame,) = client.sink.get(request_id=receipt.request_id, timeout_s=30)
        assert frame.data == b"works!"
    cli("stop", "demo")
    assert up.end() == 0

    up = start_up()
    cli = Cli(up)
    said = "demo is stopped and refuses jobs: `"
    wait_until_blocking(lambda: said in up.log, "it is said", START_S)
    assert "Accepting jobs" not in up.log
    assert not up.running("inference_worker")
    cli("start", "demo")
    with QueueClient(cli.running.url, "demo", token=token) as client:
        receipt = client.put("again")
        (frame,) = client.sink.get(request_id=receipt.request_id, timeout_s=30)
        assert frame.data == b"again!"
    cli("delete", "demo", "--yes")
    assert cli("ls") == []
    assert up.end() == 0

    up = start_up("--workers", "0")
    assert of(Cli(up))["input"]["length"] == 0


def test_a_scaled_worker_that_still_runs_a_job_ends_before_the_queue_service(
    start_up: StartUp,
) -> None:
    up = start_up("--engine-options", '{"delay_s": 3}', "--window", "1")
    cli = Cli(up)
    with QueueClient(cli.running.url, "demo", token=cli.running.token) as client:
        client.put("long")
        wait_until_blocking(
            lambda: "Pending: 1," in str(client.attributes()), "the worker holds it", START_S
        )
    cli("scale", "demo", "0", "--no-wait")
    assert up.end(signal.SIGTERM) == 0
    up = start_up("--workers", "0")
    with QueueClient(up.ready().url, "demo", token=cli.running.token) as client:
        (frame,) = client.sink.get(timeout_s=0)
        assert frame.data == b"long"


def test_a_file_that_cannot_be_read_is_named_with_what_to_do(start_up: StartUp) -> None:
    up = start_up("--workers", "0")
    up.ready()
    assert up.end() == 0
    (up.data_dir / "services" / "demo.json").write_text("{")
    up = start_up("--workers", "0")
    assert up.process.wait(START_S) == 2 or up.process.returncode == 1
    assert "demo.json cannot be read; remove it" in up.log
    assert "Traceback" not in up.log


@pytest.mark.parametrize("name", ["a b", "../running", ""])
def test_a_name_that_is_none_is_refused_before_anything_starts(
    start_up: StartUp, name: str
) -> None:
    up = start_up("--service", name)
    assert up.process.wait(START_S) == 2
    assert "--service: expected text that matches" in up.log
    assert not up.data_dir.exists()
