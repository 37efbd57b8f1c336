"""`penstock worker`: inference workers on this machine, for a queue service anywhere."""

import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from client_sdk.certificates import trusted
from client_sdk.errors import BadParameter
from client_sdk.replicas import Replicas
from client_sdk.setting_names import is_unknown
from deploy.commands.gpu_options import Gpus, PerGpu, PerWorker, worker_gpus
from deploy.commands.merged_log import MergedLog
from deploy.commands.options import Engine, EngineOptions, read_secret
from deploy.commands.several_workers import SeveralWorkers
from deploy.commands.until_stopped import run_in_foreground, until_stopped
from deploy.local.engine_check import NoEngine, check_engine
from deploy.local.wish import WorkerGpus
from deploy.service_json.worker_env import worker_env

Url = Annotated[
    str,
    typer.Option(
        help="The queue service, such as https://queue:8080; several replicas with commas.",
        envvar="PENSTOCK_WORKER_QUEUE_URL",
    ),
]
ServiceName = Annotated[
    str, typer.Option(help="The service to work for.", envvar="PENSTOCK_WORKER_SERVICE")
]
TokenFile = Annotated[
    str,
    typer.Option(
        help="A file with the service's worker token; by default, PENSTOCK_WORKER_TOKEN or "
        "PENSTOCK_WORKER_TOKEN_FILE."
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_000,
        help="Jobs at once; by default, the engine decides.",
        envvar="PENSTOCK_WORKER_WORKER_THREADS",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="Such as `cuda:1`; by default `cuda` if available, otherwise `cpu`.",
        envvar="PENSTOCK_WORKER_DEVICE",
    ),
]
WorkerName = Annotated[
    str,
    typer.Option(
        help="Its name in log lines and in `penstock workers`; by default the machine's. "
        "Several workers are NAME-1, NAME-2, ...",
        envvar="PENSTOCK_WORKER_NAME",
    ),
]
Grace = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Seconds to finish its jobs after SIGTERM or Ctrl-C (30).",
        envvar="PENSTOCK_WORKER_GRACE_S",
    ),
]
RunTimeout = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Longest time of one attempt, in seconds; 0 means no limit (0).",
        envvar="PENSTOCK_WORKER_RUN_TIMEOUT_S",
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Port of /metrics and /healthz; 0 is off (0). Several workers have the next ports.",
        envvar="PENSTOCK_WORKER_METRICS_PORT",
    ),
]


#: Seconds that a worker has to finish its jobs, unless something else is set.
GRACE_S = 30.0
LONGEST_NAME, MOST_PORT = 64, 65_535


def worker(
    ctx: typer.Context,
    *,
    url: Url,
    service: ServiceName,
    token_file: TokenFile = "",
    gpus: Gpus = "",
    gpus_per_worker: PerWorker = 1,
    workers_per_gpu: PerGpu = 1,
    engine: Engine = "echo",
    engine_options: EngineOptions = "",
    window: Window = None,
    device: Device = "",
    name: WorkerName = "",
    grace: Grace = None,
    run_timeout: RunTimeout = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Run a worker here for a queue service on any machine, until Ctrl-C.

    With --gpus, one worker for each GPU. A worker that dies is started again.

    Environment variables (PENSTOCK_WORKER_...) set what has no option here.
    """
    check_address(url)
    each, count = worker_gpus(gpus, per_worker=gpus_per_worker, per_gpu=workers_per_gpu)
    check_device(device, each)
    check_ports(metrics_port, count)
    try:
        check_engine(engine, options=engine_options, window=window, folder=Path.cwd())
    except NoEngine as error:
        raise typer.BadParameter(str(error)) from error
    env = dict(os.environ)
    # An option wins over a variable, also over the variable that the worker would prefer.
    if token_file:
        env["PENSTOCK_WORKER_TOKEN_FILE"] = read_token_file(token_file)
        env.pop("PENSTOCK_WORKER_TOKEN", None)
    source = ctx.find_root().get_parameter_source("ca_file")
    if source is not None and source.name == "COMMANDLINE":
        env.pop("PENSTOCK_WORKER_CA_FILE", None)
    check_certificates(env)
    env |= worker_env(
        queue_url=url,
        service=service,
        engine=engine,
        engine_options=engine_options,
        window=window,
        run_timeout_s=run_timeout,
    )
    env |= each.environment()
    more = {"DEVICE": device, "NAME": name, "GRACE_S": grace, "METRICS_PORT": metrics_port}
    env |= {
        f"PENSTOCK_WORKER_{variable}": str(value)
        for variable, value in more.items()
        if value not in ("", None)
    }
    if count > 1:
        _run_several(env, count, grace_s=GRACE_S if grace is None else grace)
    # The worker takes the place of this program: systemd, Docker and Ctrl-C signal it directly.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "inference_worker"], env)


def _run_several(env: Mapping[str, str], count: int, *, grace_s: float) -> NoReturn:
    # This program has warned of unknown settings already.
    shared = {name: value for name, value in env.items() if not is_unknown(name)}
    shared["PYTHONUNBUFFERED"] = "1"
    each = [{**shared, **own_settings(env, number)} for number in range(1, count + 1)]

    async def run(log: MergedLog) -> int:
        workers = SeveralWorkers(each, log, grace_s=grace_s)
        return await until_stopped(workers, workers.serve, log)

    run_in_foreground(run)


def own_settings(env: Mapping[str, str], number: int) -> dict[str, str]:
    """Return what only this one of several workers has: its name, and its port."""
    name, end = env.get("PENSTOCK_WORKER_NAME") or socket.gethostname(), f"-{number}"
    port = int(env.get("PENSTOCK_WORKER_METRICS_PORT") or 0)
    return {
        "PENSTOCK_WORKER_NAME": name[: LONGEST_NAME - len(end)] + end,
        "PENSTOCK_WORKER_METRICS_PORT": str(port + number - 1 if port else 0),
    }


def check_device(device: str, gpus: WorkerGpus) -> None:
    """Raise typer.BadParameter for a device that the GPUs of a worker do not have."""
    found = re.fullmatch(r"cuda:(\d+)", device)
    if gpus.count and found and int(found[1]) >= gpus.count:
        sees = "cuda:0" if gpus.count == 1 else f"cuda:0 to cuda:{gpus.count - 1}"
        raise typer.BadParameter(
            f"expected `cuda` or nothing with --gpus, because each worker sees its own GPUs as "
            f"{sees}, got {device}",
            param_hint="--device",
        )


def check_ports(first: int | None, count: int) -> None:
    """Raise typer.BadParameter if the last of several workers would have no port."""
    if first and first + count - 1 > MOST_PORT:
        raise typer.BadParameter(
            f"expected at most {MOST_PORT - count + 1} for {count} workers with a port each, got "
            f"{first}",
            param_hint="--metrics-port",
        )


def check_address(url: str) -> None:
    """Raise typer.BadParameter for what cannot be the address of a queue service."""
    try:
        Replicas(url)
    except BadParameter as error:
        raise typer.BadParameter(error.sentence, param_hint="--url") from None


def check_certificates(env: Mapping[str, str]) -> None:
    """Raise typer.BadParameter if the file of trusted certificates cannot be used."""
    for variable in ("PENSTOCK_WORKER_CA_FILE", "PENSTOCK_CA_FILE"):
        if path := env.get(variable, ""):
            try:
                trusted(path)
            except BadParameter as error:
                raise typer.BadParameter(error.sentence, param_hint="--ca-file") from None
            return


def read_token_file(path: str) -> str:
    """Return the absolute path of a file with a token; raises typer.BadParameter."""
    # `@` as in `--token @FILE`: both forms name a file here.
    absolute = str(Path(path.removeprefix("@")).absolute())
    read_secret(f"@{absolute}")
    return absolute
