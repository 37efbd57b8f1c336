"""`penstock up`: everything on this machine, in the foreground."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from deploy.commands.gpu_options import Gpus, PerGpu, PerWorker, worker_gpus
from deploy.commands.options import Engine, EngineOptions, read_secret
from deploy.commands.until_stopped import run_in_foreground
from deploy.commands.up.foreground import run_up
from deploy.commands.up.limits import (
    InputLength,
    InputPayload,
    Memory,
    Ratio,
    SinkLength,
    SinkPayload,
    service_limits,
    settings_of,
)
from deploy.local.data_dir import DEFAULT_PATH
from deploy.local.engine_check import NoEngine, check_engine
from deploy.local.mode import HOST, LocalOptions

Workers = Annotated[
    int, typer.Option(min=0, help="How many workers; with --gpus, one for each GPU.")
]

# Options of `up` that an environment variable can set.
Window = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Jobs that a worker takes at once; by default, the engine decides.",
        envvar="PENSTOCK_WORKER_WORKER_THREADS",
    ),
]
Token = Annotated[
    str,
    typer.Option(
        help="Its token, or @FILE; by default, one is generated and kept in the directory.",
        envvar="PENSTOCK_TOKEN",
        callback=read_secret,
    ),
]
MaxPayload = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024 * 1024,
        help="Largest input and largest result, in KiB; by default that of files.",
        envvar="PENSTOCK_MAX_PAYLOAD_KB",
    ),
]
Host = Annotated[
    str,
    typer.Option(
        help="Address to listen on; 0.0.0.0, or :: with IPv6, lets other machines connect.",
        envvar="PENSTOCK_HOST",
    ),
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="0 chooses a free one.", envvar="PENSTOCK_PORT")
]
TlsCert = Annotated[
    str,
    typer.Option(
        help="A certificate (PEM): the port speaks HTTPS.", envvar="PENSTOCK_TLS_CERT_FILE"
    ),
]
TlsKey = Annotated[
    str,
    typer.Option(
        help="Its key; by default, it is in the same file.", envvar="PENSTOCK_TLS_KEY_FILE"
    ),
]
Processes = Annotated[
    int, typer.Option(min=1, help="Processes of the queue service.", envvar="PENSTOCK_PROCESSES")
]
Grace = Annotated[
    float,
    typer.Option(
        min=0,
        help="Seconds a stopping worker has to finish its jobs.",
        envvar="PENSTOCK_WORKER_GRACE_S",
    ),
]


Autoscaling = Annotated[
    bool,
    typer.Option(
        help="Start workers on this machine as autoscalers and schedules ask. Turn it off if "
        "`autoscale run` starts them on other machines."
    ),
]


class Fsync(StrEnum):
    """When Redis waits for the disk."""

    ALWAYS = "always"
    EVERYSEC = "everysec"
    NO = "no"


AppendFsync = Annotated[
    Fsync,
    typer.Option(
        case_sensitive=False,
        help="`everysec` is a little faster and may lose the last seconds of jobs.",
    ),
]


def up(
    context: typer.Context,
    *,
    workers: Workers = 1,
    gpus: Gpus = "",
    gpus_per_worker: PerWorker = 1,
    workers_per_gpu: PerGpu = 1,
    engine: Engine = "echo",
    engine_options: EngineOptions = "",
    window: Window = None,
    service: Annotated[str, typer.Option(help="The service's name.")] = "demo",
    token: Token = "",
    max_payload_kb: MaxPayload = None,
    input_max_payload_kb: InputPayload = None,
    sink_max_payload_kb: SinkPayload = None,
    input_max_length: InputLength = None,
    sink_max_length: SinkLength = None,
    memory_mb: Memory = None,
    sink_memory_ratio: Ratio = None,
    host: Host = HOST,
    port: Port = 8080,
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    processes: Processes = 1,
    data: Annotated[Path, typer.Option(help="The data directory.")] = DEFAULT_PATH,
    grace: Grace = 30.0,
    fsync: AppendFsync = Fsync.ALWAYS,
    autoscaling: Autoscaling = True,
) -> None:
    """Run everything on this machine: Redis, the queue service and workers, until Ctrl-C.

    Environment variables (PENSTOCK_..., PENSTOCK_WORKER_...) set what has no option here.
    """
    limits = service_limits(
        service,
        both_kb=max_payload_kb,
        memory_mb=memory_mb,
        sink_memory_ratio=sink_memory_ratio,
        sizes_kb=(input_max_payload_kb, sink_max_payload_kb),
        lengths=(input_max_length, sink_max_length),
    )
    each, per_gpus = worker_gpus(gpus, per_worker=gpus_per_worker, per_gpu=workers_per_gpu)
    count, given = _count_of(workers, per_gpus, _given(context))
    options = LocalOptions(
        data_dir=data,
        service=service,
        token=token,
        port=port,
        processes=processes,
        workers=count,
        gpus=each,
        engine=engine,
        engine_options=engine_options,
        window=window,
        worker_grace_s=grace,
        host=host,
        tls_cert=tls_cert,
        tls_key=tls_key,
        limits=limits,
        given=given,
        appendfsync=fsync.value,
        autoscaling=autoscaling,
    )
    _run(options)


def _count_of(workers: int, per_gpus: int, given: frozenset[str]) -> tuple[int, frozenset[str]]:
    """Return how many workers there are, and the options that are set.

    per_gpus: how many --gpus asks for; 0 without it.
    """
    if not per_gpus:
        return workers, given
    if "workers" in given:
        raise typer.BadParameter("expected --workers or --gpus, got both; --gpus says how many")
    return per_gpus, given | {"workers"}


def _given(context: typer.Context) -> frozenset[str]:
    """Return the options that are set, and the settings of the service that they set."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    names = {name for name, source in sources.items() if source and source.name != "DEFAULT"}
    return frozenset(names.union(*(settings_of(name) for name in names)))


def check_tls(cert_file: str, key_file: str) -> None:
    """Raise typer.BadParameter for files that the queue service would refuse."""
    if key_file and not cert_file:
        raise typer.BadParameter("expected --tls-cert with --tls-key, got none")
    if cert_file:
        # Imported here: most runs have no TLS.
        from queue_service.process.tls import ServedCertificate, WrongTlsFiles  # noqa: PLC0415

        try:
            ServedCertificate(cert_file, key_file)
        except WrongTlsFiles as error:
            raise typer.BadParameter(str(error)) from error


def _run(options: LocalOptions) -> NoReturn:
    try:
        check_engine(
            options.engine,
            options=options.engine_options,
            window=options.window,
            folder=Path.cwd(),
        )
    except NoEngine as error:
        raise typer.BadParameter(str(error)) from error
    check_tls(options.tls_cert, options.tls_key)
    run_in_foreground(lambda log: run_up(options, log))
