"""`penstock worker`: one inference worker on this machine, for a queue service anywhere."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from client_sdk.certificates import trusted
from client_sdk.errors import BadParameter
from client_sdk.replicas import Replicas
from deploy.commands.options import Engine, EngineOptions, read_secret
from deploy.local.engine_check import NoEngine, check_engine
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
        help="Its name in log lines and in `penstock workers`; by default the machine's.",
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
        help="Port of /metrics and /healthz; 0 is off (0).",
        envvar="PENSTOCK_WORKER_METRICS_PORT",
    ),
]


def worker(
    ctx: typer.Context,
    *,
    url: Url,
    service: ServiceName,
    token_file: TokenFile = "",
    engine: Engine = "echo",
    engine_options: EngineOptions = "",
    window: Window = None,
    device: Device = "",
    name: WorkerName = "",
    grace: Grace = None,
    run_timeout: RunTimeout = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Run one worker here for a queue service on any machine, until Ctrl-C.

    Environment variables (PENSTOCK_WORKER_...) set what has no option here.
    """
    check_address(url)
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
    more = {"DEVICE": device, "NAME": name, "GRACE_S": grace, "METRICS_PORT": metrics_port}
    env |= {
        f"PENSTOCK_WORKER_{variable}": str(value)
        for variable, value in more.items()
        if value not in ("", None)
    }
    # The worker takes the place of this program: systemd, Docker and Ctrl-C signal it directly.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "inference_worker"], env)


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
