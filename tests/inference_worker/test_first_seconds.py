"""What a worker reports in its first moments, before a model is loaded for nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.local.engine_check import NoEngine, check_engine
from queue_service.settings.process import Settings as QueueServiceSettings
from queue_service.settings.service import ServiceSettings
from tests.conftest import StartService, StartWorker
from tests.inference_worker.conftest import HANDLERS
from tests.running import QueueServiceProcess, WorkerProcess, free_port
from tests.waiting import wait_until


async def ended(worker: WorkerProcess) -> str:
    await wait_until(lambda: not worker.running, "the worker has ended")
    assert worker.process is not None
    assert worker.process.returncode == 1
    return worker.log


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"token": "wrong"}, "UNAUTHORIZED"), ({"service": "none", "token": "x"}, "UNAUTHORIZED")],
)
async def test_a_token_that_is_not_valid_is_reported_while_the_model_loads(
    service: QueueServiceProcess, start_worker: StartWorker, settings: dict[str, Any], code: str
) -> None:
    worker = await start_worker(
        service.url, wait=False, engine=f"{HANDLERS}:LoadsForever", **settings
    )
    # Its setup never returns, so this can only be said before.
    log = await ended(worker)
    assert code in log or "NO_SUCH_SERVICE" in log
    # Without a token, a wrong name of a service looks the same, so both are named.
    assert f"PENSTOCK_WORKER_SERVICE, which is {settings.get('service', 'svc')!r}, and" in log


async def test_a_service_that_is_away_is_waited_for(
    start_worker: StartWorker, start_service: StartService
) -> None:
    worker = await start_worker(f"http://127.0.0.1:{free_port()}", engine="echo")
    await wait_until(lambda: "cannot connect" in worker.log, "it tries")
    assert worker.running


@pytest.mark.parametrize(
    ("engine", "options", "sentence"),
    [
        ("transformers:./missing", {}, "a folder with a model at ./missing, got nothing there"),
        ("embeddings:/no/such", {}, "a folder with a model at /no/such"),
        ("pipeline:text-generation:../no", {}, "a folder with a model at ../no"),
        ("pmml:none.pmml", {}, "a PMML file at none.pmml"),
        ("handler:none.py:Class", {}, "a Python file at none.py"),
        ("cog:sub/predict.py", {}, "a Python file at sub/predict.py"),
        ("http", {"port": 0, "script": ["./none", "x"]}, "a program ./none for the script"),
        ("transformer:gpt2", {}, "got transformer:gpt2; did you mean transformers?"),
        ("Echo", {}, "did you mean echo?"),
        (
            "http:http://x",
            {"modes": "sse"},
            "expected options that http knows, got modes; did you mean mode?",
        ),
    ],
)
def test_a_name_that_cannot_be_right_is_refused_at_once(
    tmp_path: Path, engine: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(NoEngine) as refused:
        check_engine(engine, options=json.dumps(options), window=None, folder=tmp_path)
    assert sentence in str(refused.value)
    if "got nothing there" in sentence:
        assert str(tmp_path) in str(refused.value)


async def test_words_of_settings_have_no_case(start_worker: StartWorker) -> None:
    worker = await start_worker(
        "http://127.0.0.1:9",
        wait=False,
        engine="http:http://127.0.0.1:9",
        engine_options={"mode": "SSE", "colour": 1},
        log_level="wArNiNg",
    )
    assert "got colour; it knows " in await ended(worker)
    settings = QueueServiceSettings(
        log_level="debug",
        durability="FSYNC",
        services=(ServiceSettings(name="x", dead_message_policy="park"),),
    )
    assert settings.log_level == "DEBUG"
    assert settings.durability == "fsync"
    assert settings.services[0].dead_message_policy == "Park"


async def test_a_setting_that_nobody_knows_is_named(
    start_service: StartService, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(wait=False, log_levl="INFO", worker_engine="echo")
    line = "PENSTOCK_LOG_LEVL is not a setting and has no effect; did you mean PENSTOCK_LOG_LEVEL?"
    await wait_until(lambda: line in service.log, "the queue service says so")
    worker = await start_worker("http://127.0.0.1:9", engine="echo", grace="1")
    assert "PENSTOCK_WORKER_GRACE is not a setting" in worker.log
    assert "did you mean PENSTOCK_WORKER_GRACE_S?" in worker.log
    for process in (service, worker):
        assert process.log.count("is not a setting") == 1


async def test_two_workers_with_one_metrics_port_both_work(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    first = await start_worker(service.url)
    second = WorkerProcess(
        {k: v for k, v in first.env.items() if k.startswith("PENSTOCK_")},
        log_path=first.log_path.with_name("second.log"),
    )
    second.env["PENSTOCK_WORKER_METRICS_PORT"] = str(first.metrics_port)
    second.spawn()
    try:
        await wait_until(lambda: "Connected" in second.log, "the second worker is connected")
        assert f"No metrics: cannot listen on 127.0.0.1:{first.metrics_port}" in second.log
    finally:
        assert await second.stop() == 0
