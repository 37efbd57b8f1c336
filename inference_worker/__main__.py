"""`python -m inference_worker`: one worker, configured by PENSTOCK_WORKER_*."""

import asyncio
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError

from client_sdk.errors import QueueError, Unauthorized
from client_sdk.setting_names import unknown_in
from client_sdk.steady_output import make_output_steady
from client_sdk.stop_signals import stop_signals
from client_sdk.transport import Transport
from client_sdk.wire import names
from client_sdk.wire.browsers import read_hosts
from client_sdk.wire.load import Load
from client_sdk.work import WorkConnection
from client_sdk.work_check import check_welcome
from inference_worker.cpu_use import CpuUse
from inference_worker.engines.engine import Engine
from inference_worker.engines.load import load_engine
from inference_worker.engines.named_files import check_files
from inference_worker.environment import forget_settings
from inference_worker.errors import BadFilesFolder, WorkerError
from inference_worker.file_store import RETRY, FileStore
from inference_worker.gpu.claim import held_gpus
from inference_worker.gpu.devices import names_of, visible_names
from inference_worker.gpu.locks import Holder
from inference_worker.gpu_guard import GpuGuard, Unwatched
from inference_worker.gpu_names import gpu_count, gpu_names
from inference_worker.job_files import JobFiles
from inference_worker.job_folders import JobFolders, default_base
from inference_worker.logs import LogSettings
from inference_worker.metrics import Metrics
from inference_worker.peer_workers import PeerWorkers
from inference_worker.placement import Announce, Placement
from inference_worker.process import EngineProcess
from inference_worker.resource_usage import process_age_s
from inference_worker.settings import Settings, explain
from inference_worker.signals import keep_from_children
from inference_worker.status import StatusPort
from inference_worker.worker import Worker

log = logging.getLogger("inference_worker")


def main() -> None:
    """Run until a stop signal, then exit with 0; exit with 1 if the worker cannot work."""
    make_output_steady()
    try:
        settings = Settings()
    except (ValidationError, SettingsError) as error:
        sys.exit(explain(error))
    unknown = list(unknown_in(os.environ))
    # Before any other process starts, so that none inherits the token.
    forget_settings()
    uid = new_uid(settings.name)
    logs = LogSettings(settings.log_level, settings.log_json, settings.name or uid)
    logs.apply()
    for sentence in unknown:
        log.warning("%s", sentence)
    keep_from_children()
    status = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(settings, uid=uid, logs=logs))
    except WorkerError as error:
        log.error("%s: %s", error.code, error)
        status = 1
    except QueueError as error:
        # The text of a QueueError begins with its code.
        log.error("%s%s", error, _advice(error, settings.service))
        status = 1
    # A handler in this process may be inside a call that never returns, and its thread would keep
    # the interpreter from exiting.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


def _advice(error: QueueError, service: str) -> str:
    """Return what to check if the queue service refuses the worker, else ""."""
    if not isinstance(error, Unauthorized):
        return ""
    # With a wrong token the response is the same for a service that does not exist.
    return (
        f"; check PENSTOCK_WORKER_SERVICE, which is {service!r}, and PENSTOCK_WORKER_TOKEN or "
        "PENSTOCK_WORKER_TOKEN_FILE, which must have that service's worker token (--service and "
        "--token-file of `penstock worker`)"
    )


def new_uid(name: str = "") -> str:
    """Return a name for this process that no other process has or had.

    name: what it begins with, for operators; by default the name of the machine.

    A restarted worker must be a new subscriber.  With the old name it would take over deliveries
    that it knows nothing about, instead of letting them be released.
    """
    # Operators read it in tables and logs, so it has no blanks or control characters.
    begin = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or socket.gethostname()
    return f"{begin}-{os.getpid()}-{secrets.token_hex(4)}"


async def _work(settings: Settings, *, uid: str, logs: LogSettings) -> None:
    engine, token = _engine(settings, logs), settings.token_text()

    def connect(window: int, load: Callable[[], Load] | None = None) -> WorkConnection:
        # The engine has just become ready.
        load_s = max(0.0, process_age_s() - (placement.waited_s if placement else 0.0))
        cpu_use = CpuUse()
        return WorkConnection(
            settings.queue_url,
            settings.service,
            window=window,
            token=token,
            uid=uid,
            version=version("penstock"),
            engine=engine.name,
            interface=engine.interface,
            host=socket.gethostname(),
            gpu=names_of(held_gpus()) or gpu_names(),
            gpus=len(held_gpus()) or gpu_count(),
            pid=os.getpid(),
            load=load
            or (lambda: replace(worker.load(), load_s=load_s, cpu_percent=cpu_use.percent())),
            ca_file=settings.ca_file,
            on_leave=worker.drain_when_asked,
            takes_files=store is not None,
        )

    async def check() -> None:
        await check_welcome(
            settings.queue_url, settings.service, token=token, ca_file=settings.ca_file
        )

    store, metrics = _file_store(settings, uid, token), Metrics()
    guard = _guard(settings, metrics)
    placement = _placement(settings, uid, lambda load: connect(0, load), guard)
    if placement is not None:
        guard.prepare = placement.prepare
    peers = PeerWorkers(
        settings.queue_url, settings.service, token=token, uid=uid, ca_file=settings.ca_file
    )
    worker = Worker(
        engine,
        connect,
        metrics=metrics,
        grace_s=settings.grace_s,
        run_timeout_s=settings.run_timeout_s,
        sick_after=settings.sick_after,
        count_peers=peers.count,
        check=check,
        exit_when_idle_s=settings.exit_when_idle_s,
        guard=guard,
        files=JobFiles(store),
    )
    _leave_on_signals(worker)
    status = StatusPort(worker, metrics)
    allowed = read_hosts(settings.allowed_hosts)
    async with status.listening(
        settings.metrics_host, port=settings.metrics_port, allowed_hosts=allowed
    ):
        await worker.run()


def _file_store(settings: Settings, uid: str, token: str) -> FileStore | None:
    """Return where the files of jobs are, None if this worker has no place for them."""
    base = Path(settings.files_dir) if settings.files_dir else default_base()
    folders = JobFolders(base, uid)
    try:
        folders.open()
    except BadFilesFolder as error:
        if settings.files_dir:
            raise
        log.warning("This worker gets no jobs with files. %s", error)
        return None
    transport = Transport(
        settings.queue_url,
        settings.service,
        token=token,
        uid=uid,
        gid=names.DEFAULT_GROUP,
        timeout_s=30.0,
        connections=100,
        retry=RETRY,
        ca_file=settings.ca_file,
    )
    reserve_bytes = settings.files_reserve_mb * 1024 * 1024
    return FileStore(transport, settings.service, folders, reserve_bytes)


def _guard(settings: Settings, metrics: Metrics) -> Unwatched:
    """Return what watches the worker's GPUs."""
    is_watched = settings.gpu_health
    if is_watched is None:
        # These were chosen for this worker.
        names = visible_names(os.environ.get("CUDA_VISIBLE_DEVICES"))
        is_watched = bool(settings.gpus or (names and shutil.which("nvidia-smi")))
    if not is_watched:
        return Unwatched()
    exclusive = bool(settings.gpus) and settings.gpu_shares == 1
    return GpuGuard(exclusive=exclusive, registry=metrics.registry)


def _placement(
    settings: Settings, uid: str, announce: Announce, guard: Unwatched
) -> Placement | None:
    """Return what takes the worker's GPUs and waits until they work; None if it has none."""
    wanted = settings.wanted_gpus()
    if wanted is None and not isinstance(guard, GpuGuard):
        return None
    holder = Holder(settings.name or uid, settings.service, socket.gethostname(), os.getpid())
    return Placement(wanted, holder, announce, guard)


def _engine(settings: Settings, logs: LogSettings) -> Engine:
    spec = settings.engine_spec()
    own_process = settings.engine_process
    if own_process is None:
        own_process = spec.wants_own_process
    # Created even if the engine runs in another process; this loads nothing yet.  An invalid name
    # is reported at once, without spawning a process for it.
    check_files(spec, Path.cwd())
    engine = load_engine(spec)
    if not own_process:
        return engine
    return EngineProcess(spec, logs=logs, silence_s=settings.engine_silence_s)


def _leave_on_signals(worker: Worker) -> None:
    """Drain at the first SIGTERM, SIGINT or SIGHUP; leave at once at the second."""
    loop = asyncio.get_running_loop()
    is_second = False

    def leave(number: signal.Signals) -> None:
        nonlocal is_second
        log.info("%s: leaving%s.", number.name, " at once" if is_second else "")
        if is_second:
            worker.drain_at_once()
        else:
            worker.drain()
        is_second = True

    for number in stop_signals():
        loop.add_signal_handler(number, leave, number)


if __name__ == "__main__":
    main()
